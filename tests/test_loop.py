"""The training loop: every step is the one that AdamW takes, and a run that was stopped anywhere ends in the same bits."""

import dataclasses
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rag_cases import SMALL
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.errors import MiniragError
from minirag.models.bart import Bart, BartConfig
from minirag.training.loop import read_log, train
from minirag.training.optimizers import optimizers
from minirag.training.settings import Settings, learning_rate
from minirag.training.state import Best, load_best, read_state

D, BATCH, STEPS = 4, 8, 30
SLOPE = torch.tensor([1.0, -2.0, 0.5, 0.0])


@dataclass(frozen=True)
class Point:
    """An example of a regression; it counts as often as its `weight` says."""

    x: Tensor
    y: float
    weight: int = 1
    words: frozenset[str] = frozenset()


class Line(nn.Module):
    """A small network with matrices, biases, a LayerNorm, dropout where it is asked for, and a buffer that counts pieces."""

    def __init__(self, dropout: float = 0.0, dtype: torch.dtype = torch.float32, seed: int = 0, pieces: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        layers = [nn.Linear(D, 6), nn.Tanh(), nn.Dropout(dropout), nn.LayerNorm(6), nn.Linear(6, 1)]
        self.layers = nn.Sequential(*layers).to(dtype)
        self.seen: Tensor
        self.register_buffer("seen", torch.tensor(0))
        self.middle = 10 * pieces

    def forward(self, points: Sequence[Point]) -> tuple[Tensor, int]:
        self.seen += self.training
        dtype = self.layers[0].weight.dtype
        x, y = torch.stack([point.x for point in points]).to(dtype), torch.tensor([point.y for point in points], dtype=dtype)
        weight = torch.tensor([point.weight for point in points], dtype=dtype)
        errors = (self.layers(x)[:, 0] - y).float() if dtype != torch.float64 else self.layers(x)[:, 0] - y
        return (weight * errors.square()).sum(), int(weight.sum())


class Number(nn.Module):
    """One number that is drawn to the mean of the examples: the smallest thing that learns."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))

    def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
        return (self.x - torch.tensor(examples)).square().sum(), len(examples)


class Writing(nn.Module):
    """A tiny BART with dropout; an example is a document and what is to be written about it, as tokens."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.bart = Bart(BartConfig(12, **SMALL | {"encoder_layers": 1, "decoder_layers": 1}))
        self.seen: Tensor
        self.register_buffer("seen", torch.tensor(0))
        self.middle = 10

    def forward(self, examples: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, int]:
        self.seen += self.training
        sources, targets = (torch.tensor(side) for side in zip(*examples, strict=True))  # [N, S], [N, T]
        given = F.pad(targets[:, :-1], (1, 0), value=self.bart.config.start_id)
        logits = self.bart.logits(self.bart.read(sources, torch.ones_like(sources)), given)  # [N, T, V]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"), targets.numel()


def points(step: int, weighted: bool = False) -> list[Point]:
    """The batch of a step, of a line with some noise."""
    chance = torch.Generator().manual_seed(step)
    x = torch.randn(BATCH, D, generator=chance)
    y = x @ SLOPE + 0.1 * torch.randn(BATCH, generator=chance)
    weight = torch.randint(1, 9, (BATCH,), generator=chance) if weighted else torch.ones(BATCH, dtype=torch.int64)
    return [Point(*point) for point in zip(x, y.tolist(), weight.tolist(), strict=True)]


def copies(step: int) -> list[tuple[list[int], list[int]]]:
    chance = random.Random(step)
    return [(source := [chance.randrange(3, 12) for _ in range(5)], source[:3]) for _ in range(4)]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def timeless(rows: Sequence[dict[str, float]]) -> list[str]:
    """The log but for its seconds, as text, in which numbers that are none are equal too."""
    return [json.dumps({name: value for name, value in row.items() if name != "seconds"}) for row in rows]


# ----- rates, and one step -----


def rates(**settings: Any) -> list[float]:
    made = Settings(**{"rate": 1.0} | settings)
    return [learning_rate(made, step) for step in range(made.steps)]


def test_rates_by_hand() -> None:
    assert rates(steps=4) == [1.0, 0.75, 0.5, 0.25]
    assert rates(steps=6, warmup=2, rate=8.0) == [4.0, 8.0, 8.0, 6.0, 4.0, 2.0]
    assert rates(steps=4, warmup=2, decay="none") == [0.5, 1.0, 1.0, 1.0]
    assert rates(steps=4, end=0.5) == [1.0, 0.875, 0.75, 0.625]
    # rate · (end + (1 − end) · left²), left = 1, 3/4, 1/2, 1/4
    assert_close(rates(steps=4, decay="polynomial", power=2.0, end=0.1), [1.0, 0.60625, 0.325, 0.15625])
    assert rates(steps=4, decay="polynomial") == rates(steps=4)


@pytest.mark.parametrize(("decay", "power", "end"), [("linear", 1.0, 0.0), ("polynomial", 2.0, 0.1), ("polynomial", 1.0, 0.3)])
def test_rates_are_those_of_transformers_but_for_one_step_of_the_warm_up(decay: str, power: float, end: float) -> None:
    """There the first step has the rate 0 and learns nothing; ours has what theirs gives to the next one, as in fairseq."""
    from transformers import get_linear_schedule_with_warmup, get_polynomial_decay_schedule_with_warmup

    steps, warmup, rate = 20, 5, 0.2
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = (
        get_linear_schedule_with_warmup(optimizer, warmup, steps)
        if decay == "linear"
        else get_polynomial_decay_schedule_with_warmup(optimizer, warmup, steps, lr_end=end * rate, power=power)
    )
    theirs = []
    for _ in range(steps):
        theirs.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    ours = rates(steps=steps, warmup=warmup, rate=rate, decay=decay, power=power, end=end)
    assert_close(ours[warmup:], theirs[warmup:], rtol=1e-12, atol=0.0)
    assert_close(ours[: warmup - 1], theirs[1:warmup], rtol=1e-12, atol=0.0)
    assert (theirs[0], ours[warmup - 1]) == (0.0, rate)


@pytest.mark.parametrize("clip", [0.05, math.inf])
def test_steps_are_those_of_adamw_with_no_decay_of_vectors(tmp_path: Path, clip: float) -> None:
    settings = Settings(3, 0.1, decay="none", weight_decay=0.3, betas=(0.8, 0.9), epsilon=1e-6, clip=clip)
    ours, theirs = Line(), Line()
    train(ours, points, settings, tmp_path, progress=False)
    parameters = list(theirs.parameters())
    vectors, matrices = ([p for p in parameters if (p.dim() == 1) is wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.9), eps=1e-6, fused=True)
    for step in range(3):
        optimizer.zero_grad()
        total, count = theirs(points(step))
        total.backward()
        for parameter in parameters:
            parameter.grad /= count
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in parameters))
        assert norm > 0.05
        nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
    assert same(weights(ours), weights(theirs))


def test_with_a_matrix_rate_muon_moves_the_layers_matrices_and_adamw_the_rest(tmp_path: Path) -> None:
    settings = Settings(4, 0.1, warmup=2, matrix_rate=0.3, weight_decay=0.2, clip=math.inf)
    ours, theirs = Line(), Line()
    train(ours, points, settings, tmp_path, progress=False)
    matrices, vectors = ([p for p in theirs.parameters() if (p.dim() > 1) is wanted] for wanted in (True, False))
    muon = torch.optim.Muon(matrices, lr=0.3, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(vectors, lr=0.1, weight_decay=0.0, fused=True)
    for step in range(4):
        theirs.zero_grad()
        total, count = theirs(points(step))
        total.backward()
        for parameter in theirs.parameters():
            parameter.grad /= count
        for optimizer, highest in ((muon, 0.3), (adamw, 0.1)):
            optimizer.param_groups[0]["lr"] = highest * learning_rate(settings, step) / 0.1
            optimizer.step()
    assert_close(weights(ours), weights(theirs), rtol=0.0, atol=1e-6)


def test_embeddings_and_what_is_frozen_are_not_muons() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    net[2].weight.requires_grad_(False)
    adamw, muon = optimizers(net, Settings(1, 0.1, matrix_rate=0.2))
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(net[1].weight)]
    moved = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert moved == {id(p) for p in net.parameters() if p.requires_grad} - {id(net[1].weight)}
    (alone,) = optimizers(nn.Linear(4, 4, bias=False), Settings(1, 0.1, matrix_rate=0.2))
    assert isinstance(alone, torch.optim.Muon)


def test_the_first_step_by_hand(tmp_path: Path) -> None:
    """Adam's first step has the length of its rate; a matrix decays before it, a number does not."""

    class Both(Number):
        def __init__(self) -> None:
            super().__init__(2.0)
            self.matrix = nn.Parameter(torch.tensor([[2.0]]))

        def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
            return (self.x + self.matrix[0, 0]) * len(examples) * 0.3, len(examples)

    both = Both()
    (row,) = train(both, lambda step: [1.0, 1.0], Settings(1, 0.25, weight_decay=0.5), tmp_path, progress=False)
    assert_close(both.x.item(), 2 - 0.25)
    assert_close(both.matrix.item(), 2 * (1 - 0.25 * 0.5) - 0.25)
    assert_close([row["loss"], row["norm"], row["rate"]], [4 * 0.3, 0.3 * math.sqrt(2), 0.25])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_in_pieces_is_the_same_batch(tmp_path: Path, weighted: bool) -> None:
    ends = []
    for count in (1, 4):
        net = Line(dtype=torch.float64)
        settings = Settings(20, 0.05, clip=0.5, accumulate=count, log_every=5)
        rows = train(net, lambda step: points(step, weighted), settings, tmp_path / str(count), progress=False)
        ends.append((dict(net.named_parameters()), [{**row, "seconds": 0.0} for row in rows]))
    assert_close(ends[0], ends[1], rtol=0.0, atol=1e-10)
    assert not torch.equal(ends[0][0]["layers.0.weight"], Line(dtype=torch.float64).layers[0].weight)


def test_a_piece_has_dropout_of_its_own(tmp_path: Path) -> None:
    drawn: list[Tensor] = []

    class Drawing(Number):
        def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
            drawn.append(torch.rand(8))
            return super().forward(examples)

    train(Drawing(), lambda step: [1.0, 2.0], Settings(3, 0.1, accumulate=2), tmp_path, progress=False)
    assert len({tuple(each.tolist()) for each in drawn}) == len(drawn) == 6


def test_the_seed_decides_what_is_dropped(tmp_path: Path) -> None:
    ends = []
    for number, seed in enumerate((0, 0, 1)):
        net = Line(dropout=0.5)
        train(net, points, Settings(5, 0.1, seed=seed), tmp_path / str(number), progress=False)
        ends.append(weights(net))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


# ----- stopping and going on -----


class Stop(Exception):
    pass


def stopping(draw: Callable[[int], Sequence[Any]], at: int) -> Callable[[int], Sequence[Any]]:
    def stop(step: int) -> Sequence[Any]:
        if step == at:
            raise Stop
        return draw(step)

    return stop


Case = tuple[Callable[[int], nn.Module], Callable[[int], Sequence[Any]], Settings]
OFTEN = {"warmup": 3, "log_every": 3, "evaluate_every": 5, "save_every": 4, "best": "metric", "lowest": True}
CASES: dict[str, Case] = {
    "a network": (lambda seed: Line(dropout=0.3, seed=seed), points, Settings(STEPS, 0.05, **OFTEN)),
    "in pieces": (lambda seed: Line(dropout=0.3, seed=seed, pieces=4), points, Settings(12, 0.05, accumulate=4, **OFTEN)),
    "float16": (lambda seed: Line(dropout=0.3, seed=seed), points, Settings(24, 0.05, precision="float16", **OFTEN)),
    "Muon": (lambda seed: Line(dropout=0.3, seed=seed), points, Settings(12, 0.05, matrix_rate=0.1, **OFTEN)),
    "BART": (Writing, copies, Settings(12, 0.01, **OFTEN)),
}


def measured(model: Any) -> Callable[[], dict[str, float]]:
    """Metrics of which the first is lowest after ten steps; another one takes random numbers."""

    def evaluate() -> dict[str, float]:
        weight = next(model.parameters()).detach()
        return {"metric": float(abs(model.seen - model.middle)), "sum": float(weight.sum()), "chance": float(torch.rand(()))}

    return evaluate


def ending(model: nn.Module, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], Best]:
    """The weights, the best weights, and which these were."""
    final = weights(model)
    best = load_best(folder, model)
    return final, weights(model), best


@pytest.mark.parametrize("name", CASES)
def test_stopped_at_any_step_it_goes_on_to_the_same_bits(tmp_path: Path, name: str) -> None:
    make, draw, settings = CASES[name]
    whole = make(0)
    rows = train(whole, draw, settings, tmp_path / "whole", measured(whole), progress=False)
    final, best_weights, best = ending(whole, tmp_path / "whole")
    assert not same(final, best_weights)  # or nothing would be shown about them
    assert len(rows) == settings.steps // 3 + math.ceil(settings.steps / 5)
    for at in range(settings.steps):
        folder, first = tmp_path / str(at), make(0)
        with pytest.raises(Stop):
            train(first, stopping(draw, at), settings, folder, measured(first), progress=False)
        then = make(int(at >= 4))  # once there is a state, weights other than the first run's are overwritten
        again = train(then, draw, settings, folder, measured(then), progress=False)
        assert timeless(again) == timeless(rows) == timeless(read_log(folder)), at
        reached = ending(then, folder)
        assert reached[2] == best, at
        assert same(reached[0], final), at
        assert same(reached[1], best_weights), at


def test_stopped_after_every_step_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = Settings(12, 0.05, **OFTEN | {"save_every": 1})
    whole = Line(dropout=0.3)
    rows = train(whole, points, settings, tmp_path / "whole", measured(whole), progress=False)
    for at in range(1, 12):
        part = Line(dropout=0.3, seed=at - 1)  # other weights each time, but for the first
        with pytest.raises(Stop):
            train(part, stopping(points, at), settings, tmp_path / "parts", measured(part), progress=False)
    last = Line(dropout=0.3, seed=12)
    assert timeless(train(last, points, settings, tmp_path / "parts", measured(last), progress=False)) == timeless(rows)
    assert same(weights(last), weights(whole))
    assert last.training == whole.training


KILLED = """
import os, signal, sys
from pathlib import Path
import safetensors.torch, torch
from test_loop import CASES, Line, measured, train

def train_until(point, folder):
    what, n = point.split("-")
    left = int(n)
    def draw(step):
        if what == "step" and step == left:
            os.kill(os.getpid(), signal.SIGKILL)
        return points(step)
    real = os.replace
    def replace(source, target):  # states, logs and best weights appear by a rename: die just before or just after the n-th
        nonlocal left
        if what in ("before", "after"):
            left -= 1
        if what == "after" and left == 0:
            real(source, target)
        if what in ("before", "after") and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
    os.replace = replace
    net = make(0)
    train(net, draw, settings, folder, measured(net), progress=False)

torch.set_num_threads(1)
make, points, settings = CASES["a network"]
torch.optim.AdamW(make(0).parameters())  # the first optimiser imports much
for point in sys.argv[2:]:
    child = os.fork()  # importing takes longer than all the training, so it is done once
    if child == 0:
        train_until(point, Path(sys.argv[1]) / point)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, point
"""


@pytest.mark.usefixtures("one_thread")
def test_killed_anywhere_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    make, draw, settings = CASES["a network"]
    whole = make(0)
    rows = train(whole, draw, settings, tmp_path / "whole", measured(whole), progress=False)
    final, best_weights, best = ending(whole, tmp_path / "whole")
    # Ten steps by lot, and renames: of the empty log, then of states and, in between, of best weights.
    points = [f"step-{step}" for step in sorted(random.Random(0).sample(range(STEPS), 10))]
    points += [f"{when}-{n}" for when in ("before", "after") for n in (1, 2, 3, 4, 5)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), *points]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).parent, env=environment)
    assert any(list((tmp_path / point).glob(".*.tmp")) for point in points)  # what a kill within a writing leaves
    for point in points:
        net = make(int((tmp_path / point / "state.safetensors").exists()))
        assert timeless(train(net, draw, settings, tmp_path / point, measured(net), progress=False)) == timeless(rows), point
        reached = ending(net, tmp_path / point)
        assert reached[2] == best, point
        assert same(reached[0], final), point
        assert same(reached[1], best_weights), point
        files = sorted(path.name for path in (tmp_path / point).iterdir())
        assert files == ["best.safetensors", "log.jsonl", "state.safetensors"], point


def ones(step: int) -> list[float]:
    return [1.0]


def never(step: int) -> list[float]:
    raise AssertionError("a step was taken")


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first, again = Number(), Number(5.0)
    rows = train(first, ones, Settings(6, 0.1), tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train(again, never, Settings(6, 0.1), tmp_path, progress=False) == rows
    assert torch.equal(again.x, first.x)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_trainings_cannot_be_at_work_in_one_folder(tmp_path: Path) -> None:
    meanwhile: list[str] = []

    def draw(step: int) -> list[float]:
        if step == 2:
            with pytest.raises(MiniragError, match="another training is at work in") as refused:
                train(Number(), ones, Settings(4, 0.1), tmp_path, progress=False)
            meanwhile.append(str(refused.value))
        return ones(step)

    first, alone = Number(), Number()
    train(first, draw, Settings(4, 0.1), tmp_path, progress=False)
    assert len(meanwhile) == 1
    train(alone, ones, Settings(4, 0.1), tmp_path / "alone", progress=False)
    assert same(weights(first), weights(alone))
    train(Number(), never, Settings(4, 0.1), tmp_path, progress=False)  # it is free again


def test_a_state_that_could_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, whole = Settings(9, 0.1, save_every=3), Number()
    train(whole, ones, settings, tmp_path / "whole", progress=False)
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if read_state(tmp_path / "run", Number()) is not None:  # that of step 3 is written; that of step 6 is not
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(MiniragError, match=r"cannot write .*state.safetensors: No space left on device"):
        train(Number(), ones, settings, tmp_path / "run", progress=False)
    monkeypatch.setattr(os, "replace", real)
    found = read_state(tmp_path / "run", Number())
    assert found is not None
    assert found[0].step == 3
    (tmp_path / "run" / ".state.safetensors.x.tmp").write_bytes(b"\x10\0\0")  # as a kill leaves it
    other = Number(7.0)
    train(other, ones, settings, tmp_path / "run", progress=False)
    assert torch.equal(other.x, whole.x)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["log.jsonl", "state.safetensors"]


# ----- damage, and other runs -----


@pytest.mark.parametrize("name", ["state.safetensors", "best.safetensors"])
def test_a_byte_that_is_another_is_found_wherever_it_is(tmp_path: Path, name: str) -> None:
    model, settings = Line(), Settings(3, 0.1, best="metric")
    train(model, points, settings, tmp_path, measured(model), progress=False)
    path = tmp_path / name
    read = load_best if name.startswith("best") else read_state
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")  # of the numbers, behind the header
    places = [*range(0, begin, 3), *range(begin, len(raw), 7), len(raw) - 1]
    chance = random.Random(0)
    with torch.no_grad():
        model.layers[0].weight.zero_()
    before = weights(model)
    for place in places:
        damaged = bytearray(raw)
        damaged[place] ^= chance.randrange(1, 256)
        path.write_bytes(damaged)
        with pytest.raises(MiniragError, match=name):
            read(tmp_path, model)
    path.write_bytes(raw[:-1])
    with pytest.raises(MiniragError, match=name):
        read(tmp_path, model)
    if name.startswith("state"):
        with pytest.raises(MiniragError, match=name):
            train(model, points, settings, tmp_path, measured(model), progress=False)
    assert same(weights(model), before)


def test_numbers_that_are_told_to_be_of_another_kind_are_found(tmp_path: Path) -> None:
    """The same bytes, but of another type or shape: both stand in the file's header."""
    train(Line(), points, Settings(3, 0.1), tmp_path, progress=False)
    path = tmp_path / "state.safetensors"
    raw = path.read_bytes()
    for old, new in ((b'"F32"', b'"I32"'), (b"[6,4]", b"[4,6]")):
        assert old in raw
        path.write_bytes(raw.replace(old, new))
        with pytest.raises(MiniragError, match=r"state.safetensors is damaged"):
            read_state(tmp_path, nn.Module())


CHANGES: dict[str, Any] = {"steps": 9, "rate": 0.2, "warmup": 1, "decay": "none", "power": 2.0, "end": 0.1, "seed": 1}
CHANGES |= {"weight_decay": 0.1, "betas": (0.9, 0.99), "epsilon": 1e-6, "clip": 2.0, "accumulate": 2, "save_every": 7}
CHANGES |= {"precision": "bfloat16"}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_with_other_settings_is_another_run(tmp_path: Path, name: str) -> None:
    settings = Settings(6, 0.1)
    train(Number(), ones, settings, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = Number(5.0)
    with pytest.raises(MiniragError, match=rf"holds a run with {name} = .*choose another folder"):
        train(other, never, dataclasses.replace(settings, **{name: CHANGES[name]}), tmp_path, progress=False)
    assert other.x.item() == 5.0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_networks_run_is_another_run(tmp_path: Path) -> None:
    settings = Settings(6, 0.1, best="metric")
    net = Line()
    train(net, points, settings, tmp_path, measured(net), progress=False)
    wider, longer = Line(), Line(dtype=torch.float64)
    wider.layers[0] = nn.Linear(D + 1, 6)
    named = nn.ModuleDict({"other": Line()})
    named.forward = named["other"].forward  # type: ignore[method-assign]
    for other, odd in ((wider, "layers.0.weight"), (longer, "layers.0.weight"), (named, "other.layers.0.weight")):
        before = weights(other)
        with pytest.raises(MiniragError, match="another folder"):
            train(other, never, settings, tmp_path, measured(other), progress=False)
        with pytest.raises(MiniragError, match=rf"best.safetensors holds another model's weights \({odd} differs\)"):
            load_best(tmp_path, other)
        assert same(weights(other), before)


def test_a_network_of_which_less_learns_is_another_run(tmp_path: Path) -> None:
    settings = Settings(6, 0.1)
    train(Line(), points, settings, tmp_path, progress=False)
    part = Line()
    part.layers[0].requires_grad_(False)
    before = weights(part)
    with pytest.raises(MiniragError, match="holds a run with parameters = "):
        train(part, never, settings, tmp_path, progress=False)
    assert same(weights(part), before)


def test_a_frozen_part_stays_as_it_is(tmp_path: Path) -> None:
    part = Line()
    part.layers[0].requires_grad_(False)
    before = weights(part)
    train(part, points, Settings(6, 0.1), tmp_path, progress=False)
    after = weights(part)
    assert {name for name in before if torch.equal(before[name], after[name])} == {"layers.0.weight", "layers.0.bias"}
    part.requires_grad_(False)
    with pytest.raises(MiniragError, match="nothing here can learn"):
        train(part, points, Settings(6, 0.1), tmp_path / "other", progress=False)


def test_weights_with_two_names_are_kept_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = self.other = Number()

        def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
            total, count = self.one(examples)
            return total + self.other(examples)[0], 2 * count

    settings, tied, again = Settings(4, 0.1, save_every=1), Tied(), Tied()
    with pytest.raises(Stop):
        train(again, stopping(ones, 2), settings, tmp_path / "again", progress=False)
    train(tied, ones, settings, tmp_path / "whole", progress=False)
    train(again, ones, settings, tmp_path / "again", progress=False)
    assert torch.equal(tied.one.x, again.other.x)


def test_the_log_reads_with_a_cut_last_row_and_with_no_other_damage(tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match=r"log.jsonl does not exist; train first"):
        read_log(tmp_path)
    rows = train(Number(), ones, Settings(6, 0.1, log_every=2), tmp_path, progress=False)
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert read_log(tmp_path) == rows
    path = tmp_path / "log.jsonl"
    raw = path.read_bytes()
    end = raw.rstrip().rfind(b"\n") + 1
    for cut in range(end, len(raw) - 1):  # within the last row
        path.write_bytes(raw[:cut])
        assert read_log(tmp_path) == rows[:2], cut
    path.write_bytes(raw[:end] + b'{"step": 6, "\xc3')  # a letter of two bytes, cut
    assert read_log(tmp_path) == rows[:2]
    lines = raw.splitlines(keepends=True)
    for middle in (lines[1][:9] + b"\n", b"\n", b"\xff\xfe\n", b"7\n", b"[[1]]\n"):
        path.write_bytes(lines[0] + middle + lines[2])
        with pytest.raises(MiniragError, match=r"log.jsonl, row 2 is "):
            read_log(tmp_path)


def test_a_log_that_was_cut_is_whole_again_when_the_run_goes_on(tmp_path: Path) -> None:
    settings = Settings(6, 0.1, log_every=1, save_every=4)
    with pytest.raises(Stop):
        train(Number(), stopping(ones, 5), settings, tmp_path, progress=False)
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(b'{"step": 6, "lo')
    rows = train(Number(), ones, settings, tmp_path, progress=False)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert read_log(tmp_path) == rows


# ----- no numbers -----


class Spoilt(Number):
    """Gives something wrong at an example of 13, at which the loss itself may be a number."""

    def __init__(self, wrong: str) -> None:
        super().__init__(1.0)
        self.wrong = wrong

    def forward(self, examples: Sequence[Any]) -> tuple[Tensor, int]:
        total, count = super().forward([point.y for point in examples])
        if any(point.y == 13 for point in examples):
            root = (self.x - self.x.detach()).sqrt()  # 0, with an infinite derivative
            total = {"nan": total * math.nan, "infinite": total * math.inf, "gradient": total + root}[self.wrong]
        return total, count


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("wrong", ["nan", "infinite", "gradient"])
def test_nothing_is_learnt_from_what_is_no_number(tmp_path: Path, wrong: str, accumulate: int) -> None:
    def draw(step: int) -> list[Point]:
        return [Point(torch.tensor([1.0, math.nan]), y, 3, frozenset("ba")) for y in (1.5, 13.0 if step == 5 else 2.0)]

    kept: list[Tensor] = []

    def keeping(step: int) -> list[Point]:
        kept.append(model.x.detach().clone())
        return draw(step)

    model = Spoilt(wrong)
    settings = Settings(9, 0.1, save_every=2, accumulate=accumulate)
    shown = "nan" if wrong == "nan" else "inf" if wrong == "infinite" else r"\d.*"
    with pytest.raises(
        MiniragError, match=rf"at step 5 the loss is {shown} and the norm of its gradient (nan|inf); .*bad_batch"
    ):
        train(model, keeping, settings, tmp_path, progress=False)
    assert len(kept) == 6
    assert torch.equal(model.x.detach(), kept[5])
    assert not torch.equal(kept[5], kept[4])
    bad = json.loads((tmp_path / "bad_batch.json").read_text())
    assert bad["step"] == 5
    assert bad["norm"] in ("nan", "inf")
    assert [(one["y"], one["weight"], one["words"]) for one in bad["examples"]] == [(y, 3, ["a", "b"]) for y in (1.5, 13.0)]
    assert [one["x"][0] for one in bad["examples"]] == [1.0, 1.0]
    assert all(math.isnan(one["x"][1]) for one in bad["examples"])
    found = read_state(tmp_path, model)
    assert found is not None
    assert found[0].step == 4


def test_a_bad_batch_of_anything_can_be_written(tmp_path: Path) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "something odd"

    @dataclass
    class Pair:
        a: Tensor
        b: Any

    class Bad(Number):
        def forward(self, examples: Sequence[Any]) -> tuple[Tensor, int]:
            return self.x * math.nan, 1

    parameter = nn.Parameter(torch.ones(2))
    pair = Pair(parameter * 2, Odd())  # a tensor that belongs to a computation cannot be copied
    examples = [pair, {3: ("é", None, True)}, [torch.tensor([[1, 2]]), torch.tensor(1.5).bfloat16()], {"z", "y"}, Path("a/b")]
    with pytest.raises(MiniragError, match="bad_batch"):
        train(Bad(), lambda step: examples, Settings(1, 0.1), tmp_path, progress=False)
    assert json.loads((tmp_path / "bad_batch.json").read_text())["examples"] == [
        {"a": [2.0, 2.0], "b": "something odd"},
        {"3": ["é", None, True]},
        [[[1, 2]], 1.5],
        ["y", "z"],
        repr(Path("a/b")),
    ]


# ----- half precision -----


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_regression_is_learnt_in_every_precision(tmp_path: Path, precision: str) -> None:
    net = Line()
    settings = Settings(300, 0.05, precision=precision, weight_decay=0.0, log_every=100)
    rows = train(net, points, settings, tmp_path, progress=False)
    assert rows[0]["loss"] > 0.3
    assert rows[-1]["loss"] < 0.1
    assert next(net.parameters()).dtype == torch.float32


def test_in_float16_the_scale_falls_and_steps_without_numbers_are_left_out(tmp_path: Path) -> None:
    net = Line()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    settings = Settings(8, 0.05, precision="float16", save_every=1)
    with pytest.raises(Stop):
        train(net, stopping(points, 1), settings, tmp_path, progress=False)
    found = read_state(tmp_path, Line())
    assert found is not None
    assert found[0].scaler["scale"] == 2.0**15  # from 2**16, in which these gradients have no place
    assert all(map(torch.equal, net.parameters(), before))
    train(net, points, settings, tmp_path, progress=False)
    found = read_state(tmp_path, Line())
    assert found is not None
    assert 2.0**8 < found[0].scaler["scale"] < 2.0**15
    assert found[0].scaler["_growth_tracker"] > 0
    assert not any(map(torch.equal, net.parameters(), before))


def test_in_float16_an_infinite_gradient_stops_once_no_scale_is_small_enough(tmp_path: Path) -> None:
    model = Spoilt("gradient")
    settings = Settings(200, 0.1, precision="float16")
    with pytest.raises(MiniragError, match=r"at step \d\d the loss is .* and the norm of its gradient inf"):
        train(model, lambda step: [Point(torch.zeros(1), 13.0)], settings, tmp_path, progress=False)
    assert model.x.item() == 1.0
    with pytest.raises(MiniragError, match="at step 0 the loss is nan"):
        train(Spoilt("nan"), lambda step: [Point(torch.zeros(1), 13.0)], settings, tmp_path / "nan", progress=False)


def test_what_an_objective_does_in_float32_is_derived_in_float32(tmp_path: Path) -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(D, D)

        def forward(self, examples: Sequence[Point]) -> tuple[Tensor, int]:
            with torch.autocast("cpu", enabled=False):
                return self.layer(torch.stack([point.x for point in examples])).square().sum(), len(examples)

    ends = []
    for precision in ("float32", "bfloat16"):
        ends.append(Careful())
        settings = Settings(3, 0.1, precision=precision)
        train(ends[-1], points, settings, tmp_path / precision, progress=False)
    assert same(weights(ends[0]), weights(ends[1]))


# ----- evaluation -----


@pytest.mark.parametrize("lowest", [True, False])
def test_the_best_weights_are_kept(tmp_path: Path, lowest: bool) -> None:
    values, seen = iter([0.5, math.nan, 0.2, 0.9, 0.2, 0.9, 0.4]), list[dict[str, Tensor]]()
    net = Line()

    def evaluate() -> dict[str, float]:
        assert not net.training
        seen.append(weights(net))
        return {"other": 1.0, "quality": next(values)}

    settings = Settings(14, 0.05, evaluate_every=2, best="quality", lowest=lowest)
    rows = train(net, points, settings, tmp_path, evaluate, progress=False)
    assert [row["step"] for row in rows if "quality" in row] == [2, 4, 6, 8, 10, 12, 14]
    number = 2 if lowest else 3  # of equal ones the first
    other = Line(seed=1)
    assert load_best(tmp_path, other) == Best(2 * number + 2, "quality", 0.2 if lowest else 0.9)
    assert same(weights(other), seen[number])
    assert not same(seen[number], seen[-1])


@pytest.mark.parametrize("lowest", [True, False])
def test_a_first_metric_that_is_no_number_is_not_the_best(tmp_path: Path, lowest: bool) -> None:
    values, model = iter([math.nan, 0.5]), Number()
    settings = Settings(2, 0.1, evaluate_every=1, best="quality", lowest=lowest)
    train(model, ones, settings, tmp_path, lambda: {"quality": next(values)}, progress=False)
    assert load_best(tmp_path, model) == Best(2, "quality", 0.5)


def test_best_weights_need_a_metric(tmp_path: Path) -> None:
    values = {"loss": 1.0, "accuracy": 0.5}
    with pytest.raises(MiniragError, match="gives no 'quality', which is to choose the best weights, but loss, accuracy"):
        train(Number(), ones, Settings(2, 0.1, best="quality"), tmp_path / "a", lambda: values, progress=False)
    with pytest.raises(MiniragError, match=r"best = 'quality' .*; give `evaluate`, or no best"):
        train(Number(), never, Settings(2, 0.1, best="quality"), tmp_path / "b", progress=False)
    train(Number(), ones, Settings(2, 0.1), tmp_path / "c", lambda: values, progress=False)
    with pytest.raises(MiniragError, match=r"best.safetensors does not exist; train with `best`"):
        load_best(tmp_path / "c", Number())


def test_evaluating_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for every in (0, 1, 3):
        net = Line(dropout=0.3)
        settings = Settings(10, 0.05, evaluate_every=every)
        train(net, points, settings, tmp_path / str(every), measured(net), progress=False)
        ends.append(weights(net))
    net = Line(dropout=0.3)
    train(net, points, Settings(10, 0.05), tmp_path / "none", progress=False)
    assert all(same(end, weights(net)) for end in ends)


def test_the_log_holds_means_since_its_last_row(tmp_path: Path) -> None:
    each = train(Line(), points, Settings(7, 0.05, log_every=1), tmp_path / "each", progress=False)
    some = train(Line(), points, Settings(7, 0.05, log_every=3), tmp_path / "some", progress=False)
    assert [row["step"] for row in some] == [3, 6, 7]
    for row, part in zip(some, (each[:3], each[3:6], each[6:]), strict=True):
        assert_close([row["loss"], row["norm"]], [sum(one[name] for one in part) / len(part) for name in ("loss", "norm")])
        assert row["rate"] == part[-1]["rate"]
        assert row["seconds"] >= 0
    assert list(some[0]) == ["step", "loss", "norm", "rate", "seconds"]


def test_the_bar_counts_the_steps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Stop):
        train(Number(), stopping(ones, 4), Settings(6, 0.1, save_every=2), tmp_path, title="learning")
    assert train(Number(), ones, Settings(6, 0.1, save_every=2), tmp_path, title="learning on")
    told = capfd.readouterr().err
    assert "learning: " in told
    assert "learning on: 100%" in told
    assert " 6/6 " in told
    train(Number(), ones, Settings(6, 0.1), tmp_path / "other", progress=False)
    assert capfd.readouterr() == ("", "")


# ----- settings -----


@pytest.mark.parametrize(
    "bad",
    [
        {"decay": "cosine"},
        {"precision": "float8"},
        {"steps": 0},
        {"accumulate": 0},
        {"log_every": 0},
        {"save_every": 0},
        {"evaluate_every": -1},
        {"warmup": -1},
        {"warmup": 10},
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": math.nan},
        {"clip": 0.0},
        {"epsilon": -1e-8},
        {"weight_decay": -0.1},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"end": -0.1},
        {"power": 0.0},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_named(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    settings = Settings(10, 0.1)
    object.__setattr__(settings, name, value)  # the tests' own check of types would be the first to object
    with pytest.raises(MiniragError, match=rf"^{name} = .*; choose") as error:
        settings.__post_init__()
    assert str(value) in str(error.value)


@pytest.mark.parametrize(("examples", "accumulate"), [(6, 4), (0, 1), (3, 4)])
def test_a_batch_that_makes_no_equal_pieces_is_named(tmp_path: Path, examples: int, accumulate: int) -> None:
    settings = Settings(2, 0.1, accumulate=accumulate)
    with pytest.raises(
        MiniragError, match=rf"a batch of {examples} examples cannot be accumulated in {accumulate} equal pieces"
    ):
        train(Number(), lambda step: [1.0] * examples, settings, tmp_path, progress=False)
