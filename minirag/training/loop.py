"""The training loop, one for everything that is trained here: draw a batch, go down the gradient, evaluate, keep the state.

Three rules make it short. *Whatever a step needs is a function of its number*: its examples (`draw`), its learning rate, the
seed of its dropout. So a checkpoint holds the weights, the optimiser's averages and the number of the next step, and a run that
was killed goes on from there to the same bits (with as many threads as before: they add in another order). *An objective
returns a sum and what it is divided by* (examples, or tokens), and the division comes last; so examples that do not look at
each other give the same gradient whether their batch is computed at once, in pieces one after the other (`accumulate`), or by
several processes (`torchrun`). *Nothing is learnt from a loss that is no number*: the run stops and its batch is on disk.

The optimiser is AdamW (Loshchilov and Hutter 2019), as for BERT, BART, DPR and RAG; the mini checkpoints' reader also takes
Muon (see `optimizers.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.files import atomic_path, only_process, write_json
from minirag.training.draws import chance_of
from minirag.training.optimizers import optimizers, set_rate
from minirag.training.ranks import begin_alike, exchange, rank, ranks, share_of
from minirag.training.settings import Settings, learning_rate
from minirag.training.state import BEST, STATE, Best, Row, State, read_state, write_best, write_state

Metrics = dict[str, int | float]
LOG = "log.jsonl"
LEAST = 2.0**-14  # of float16's scales: a gradient that overflows even with it is infinite


def train(
    objective: nn.Module,
    draw: Callable[[int], Sequence[Any]],
    settings: Settings,
    folder: str | Path,
    evaluate: Callable[[], Metrics] | None = None,
    title: str = "training",
    progress: bool = True,
) -> list[Row]:
    """Train what `objective` holds, and return the log; `folder` keeps all that is needed to go on after a kill.

    Args:
        objective: called with examples, it returns the sum of their losses and what to divide it by. Its parameters learn.
        draw: the examples of a step, counted from 0: always the same ones for the same number. All processes draw alike,
            and each takes its part.
        evaluate: metrics of the model as it is, called in `eval` mode. They go into the log.
        folder: `log.jsonl` (a row for every `log_every` steps: step, mean loss, mean norm of the gradient, rate, seconds; and
            one for each evaluation), `state.safetensors` (where to go on), `best.safetensors` (the best evaluation's weights).

    Called again with the same folder it goes on where it was, and leaves a finished run as it is; the objective then holds the
    weights. Raises `MiniragError` where the folder is another run's or another process is at work in it, and when the loss or
    the gradient is no number: the weights are those before that step, and `bad_batch.json` holds its examples.

    >>> import tempfile
    >>> class Square(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.x = nn.Parameter(torch.tensor(1.0))
    ...     def forward(self, examples):
    ...         return sum((self.x - example) ** 2 for example in examples), len(examples)
    >>> square = Square()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = train(square, lambda step: [3.0, 5.0], Settings(steps=200, rate=0.1), folder, progress=False)
    >>> round(square.x.item(), 2)
    4.0
    """
    run = Run(objective, draw, settings, Path(folder), evaluate)
    with _alone(Path(folder)):
        first = run.resume()
        with tqdm(total=settings.steps, initial=first, desc=title, unit="step", disable=not progress or rank() > 0) as bar:
            for step in range(first, settings.steps):
                run.step(step)
                bar.update()
                done = step + 1
                if done % settings.log_every == 0 or done == settings.steps:
                    bar.set_postfix(loss=f"{run.log_losses(done):.3f}")
                if evaluate and (done == settings.steps or (settings.evaluate_every and done % settings.evaluate_every == 0)):
                    run.log_metrics(done)
                if done % settings.save_every == 0 or done == settings.steps:
                    run.save(done)
    return run.rows


def _alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Two runs in one folder would write over each other's states; the processes of one run are one."""
    if rank() > 0:
        return contextlib.nullcontext()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return only_process(
        folder.with_name(f".{folder.name}.lock"),
        f"another training is at work in {folder}; wait for it, or choose another folder",
    )


class Run:
    """A training as `train` goes through it: `resume`, then `step` after `step`, between them rows for the log and states."""

    def __init__(
        self,
        objective: nn.Module,
        draw: Callable[[int], Sequence[Any]],
        settings: Settings,
        folder: Path,
        evaluate: Callable[[], Metrics] | None,
    ) -> None:
        self.objective, self.draw, self.settings, self.folder, self.evaluate = objective, draw, settings, folder, evaluate
        self.parameters = {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}
        if not self.parameters:
            raise MiniragError("nothing here can learn: no parameter of the objective asks for a gradient")
        if settings.best is not None and evaluate is None:
            raise MiniragError(
                f"best = {settings.best!r} names a metric, but nothing is evaluated; give `evaluate`, or no best"
            )
        self.device = next(iter(self.parameters.values())).device
        self.optimizers = optimizers(objective, settings)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        begin_alike(objective)
        self.rows: list[Row] = []
        self.best: Best | None = None
        self.since = _Since()

    def step(self, step: int) -> tuple[float, float]:
        """One step down the gradient of the batch's loss; that loss, and the norm of its gradient before clipping."""
        settings = self.settings
        examples = list(self.draw(step))
        pieces = [share_of(piece, rank(), ranks()) for piece in _pieces(examples, settings.accumulate)]
        rate = learning_rate(settings, step)
        set_rate(self.optimizers, rate / settings.rate)
        self.objective.train()
        self.objective.zero_grad()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # the loss, and what it is divided by
        for number, piece in enumerate(pieces):
            torch.manual_seed(chance_of(settings.seed, step, number, rank()).getrandbits(63))  # of dropout; CUDA's too
            with self._cast():
                total, weight = self.objective(piece)
            self.scaler.scale(total).backward()  # each operation in the precision that it had on the way forth
            sums += torch.stack([total.detach().double(), torch.as_tensor(weight, device=self.device).double()])
        if ranks() > 1:
            torch.distributed.all_reduce(sums)
        exchange(list(self.parameters.values()))
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        grads = [weight.grad for weight in self.parameters.values() if weight.grad is not None]
        torch._foreach_div_(grads, float(sums[1]))
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip)
        loss = float(sums[0] / sums[1])
        overflow = self.scaler.is_enabled() and self.scaler.get_scale() > LEAST
        if not (math.isfinite(loss) and (torch.isfinite(norm) or overflow)):
            self._stop(step, examples, loss, float(norm))
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)  # in float16 a step whose gradient overflowed is left out, and the scale is halved
        self.scaler.update()
        self.since.add(loss, float(norm), rate)
        return loss, float(norm)

    def log_losses(self, done: int) -> float:
        """A row on the steps since the last one; its mean loss."""
        means = self.since.row()
        self._log({"step": done, **means})
        self.since = _Since()
        return means["loss"]

    def log_metrics(self, done: int) -> None:
        """Evaluate, and keep the weights if they are the best so far."""
        assert self.evaluate is not None
        self.objective.eval()
        metrics = self.evaluate()
        self._log({"step": done, **metrics})
        name = self.settings.best
        if name is None:
            return
        if name not in metrics:
            raise MiniragError(
                f"the evaluation gives no {name!r}, which is to choose the best weights, but {', '.join(metrics)}"
            )
        value = float(metrics[name])
        best = self.best.value if self.best else math.inf if self.settings.lowest else -math.inf  # NaN is never better
        if value < best if self.settings.lowest else value > best:
            self.best = Best(done, name, value)
            if rank() == 0:
                write_best(self.folder, self.objective, self.best)

    def save(self, done: int) -> None:
        """All that is needed to go on after step number `done`, written by the first process."""
        if rank() == 0:
            kept = {weight: own for optimizer in self.optimizers for weight, own in optimizer.state.items()}
            averages = {name: kept.get(weight, {}) for name, weight in self.parameters.items()}
            scale = self.scaler.state_dict() if self.scaler.is_enabled() else {}
            state = State(done, self.identity(), self.rows, self.best, dataclasses.asdict(self.since), scale)
            write_state(self.folder, state, self.objective, averages)
        if ranks() > 1:
            torch.distributed.barrier()

    def resume(self) -> int:
        """Take up what a run before left in the folder; the number of steps that are done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = read_state(self.folder, self.objective, self.identity())
        if found is None:
            self._tidy()
            return 0
        state, averages = found
        for optimizer in self.optimizers:
            moved = {weight for group in optimizer.param_groups for weight in group["params"]}
            for name, own in averages.items():
                if self.parameters[name] in moved:
                    optimizer.state[self.parameters[name]] = own
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state.scaler)
        self.rows, self.best, self.since = state.rows, state.best, _Since(**state.since)
        self._tidy()
        return state.step

    def identity(self) -> dict[str, Any]:
        """What has to be the same for a run to be gone on with."""
        settings = dataclasses.asdict(self.settings) | {"betas": list(self.settings.betas)}
        sizes = sum(weight.numel() for weight in self.parameters.values())
        return settings | {"parameters": sizes, "ranks": ranks()}

    def _log(self, row: Row) -> None:
        self.rows.append(row)
        if rank() == 0:
            with open(self.folder / LOG, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _tidy(self) -> None:
        """The log as the state has it, without the rows of steps that will be done again; and no halves of files."""
        if rank() == 0:
            for name in (STATE, BEST, LOG):
                for leftover in self.folder.glob(f".{name}.*.tmp"):  # of a run that was killed in the middle of a file
                    leftover.unlink()
            with atomic_path(self.folder / LOG) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def _stop(self, step: int, examples: Sequence[Any], loss: float, norm: float) -> None:
        path = self.folder / "bad_batch.json"
        if rank() == 0:
            write_json(path, {"step": step, "loss": str(loss), "norm": str(norm), "examples": [_plain(e) for e in examples]})
        if ranks() > 1:
            torch.distributed.barrier()  # where one process fails, torchrun ends the others: not before the file is written
        raise MiniragError(
            f"at step {step} the loss is {loss} and the norm of its gradient {norm}; the examples are in {path}: look at them, "
            "or choose a lower rate"
        )

    def _cast(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.settings.precision))


@dataclass
class _Since:
    """What happened since the last row of the log."""

    steps: int = 0
    loss: float = 0.0
    norm: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.perf_counter() - self.seconds

    def add(self, loss: float, norm: float, rate: float) -> None:
        self.steps, self.loss, self.norm, self.rate = self.steps + 1, self.loss + loss, self.norm + norm, rate
        self.seconds = time.perf_counter() - self._start

    def row(self) -> dict[str, float]:
        means = {"loss": self.loss / self.steps, "norm": self.norm / self.steps}
        return means | {"rate": self.rate, "seconds": round(self.seconds, 2)}


def read_log(folder: str | Path) -> list[Row]:
    """The rows of a run's log; a last row that a kill cut short is left out.

    Raises `MiniragError` where there is no log, or a row within it is damaged.
    """
    path = Path(folder) / LOG
    if not path.exists():
        raise MiniragError(f"{path} does not exist; train first, or check the folder")
    rows, lines = [], path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            if number < len(lines):
                raise MiniragError(f"{path}, row {number} is no JSON record; the log was altered or damaged") from None
    return rows


def _pieces(examples: Sequence[Any], count: int) -> list[Sequence[Any]]:
    size, rest = divmod(len(examples), count)
    if rest or not size:
        raise MiniragError(f"a batch of {len(examples)} examples cannot be accumulated in {count} equal pieces; change either")
    return [examples[i * size : (i + 1) * size] for i in range(count)]


def _plain(example: Any) -> Any:
    if dataclasses.is_dataclass(example) and not isinstance(example, type):
        return {field.name: _plain(getattr(example, field.name)) for field in dataclasses.fields(example)}
    if isinstance(example, dict):
        return {str(key): _plain(value) for key, value in example.items()}
    if isinstance(example, list | tuple):
        return [_plain(part) for part in example]
    if isinstance(example, set | frozenset):
        return sorted(map(_plain, example), key=repr)  # in the same order every time
    if isinstance(example, Tensor):
        return example.tolist()
    return example if isinstance(example, str | int | float | bool | None) else repr(example)
