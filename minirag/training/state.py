"""What a run needs to go on after a kill, in one file that is replaced whole: weights, the optimiser's averages, and the step.

Dropout, data and learning rate are functions of the step's number (see `loop.py`), so nothing else has to be remembered.
Tensors lie in safetensors, all else in its header as JSON, with a checksum over both.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minirag.errors import MiniragError
from minirag.files import atomic_path, fingerprint_of

STATE, BEST = "state.safetensors", "best.safetensors"
Row = dict[str, int | float]  # of the log: the step is a whole number
AVERAGES = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # what AdamW keeps of every weight; the last is Muon's


@dataclass(frozen=True)
class Best:
    """The evaluation whose weights were the best: after how many steps, by which metric."""

    step: int
    metric: str
    value: float


@dataclass(frozen=True)
class State:
    """How far a run is: steps done, what makes it this run and no other, its log, what was summed since its last row."""

    step: int
    run: dict[str, Any]
    rows: list[Row]
    best: Best | None
    since: dict[str, Any]
    scaler: dict[str, Any]


def write_state(folder: Path, state: State, model: nn.Module, averages: dict[str, dict[str, Tensor]]) -> None:
    """Replace the state in `folder`; a reader finds the old one or the new one, never a part."""
    tensors = {f"weight/{name}": tensor for name, tensor in weights_of(model).items()}
    for name, own in averages.items():
        tensors |= {f"{kind}/{name}": own[kind] for kind in AVERAGES if kind in own}
    _write(folder / STATE, tensors, dataclasses.asdict(state))


def read_state(
    folder: Path, model: nn.Module, run: dict[str, Any] | None = None
) -> tuple[State, dict[str, dict[str, Tensor]]] | None:
    """Load the weights into `model`, and return the rest: None where there is no state yet.

    Raises `MiniragError` where the file is damaged, the state is not that of `run` (if given), or the weights are another
    model's; `model` is then as it was.
    """
    if not (folder / STATE).exists():
        return None
    tensors, fields = _read(folder / STATE)
    fields["best"] = Best(**fields["best"]) if fields["best"] else None
    state = State(**fields)
    for name, value in (run or {}).items():
        if state.run.get(name) != value:
            raise MiniragError(
                f"{folder} holds a run with {name} = {state.run.get(name)!r}, and this one has {value!r}; choose "
                "another folder, or remove that one"
            )
    _fill(model, {n.removeprefix("weight/"): t for n, t in tensors.items() if n.startswith("weight/")}, folder / STATE)
    averages: dict[str, dict[str, Tensor]] = {}
    devices = {name: weight.device for name, weight in model.named_parameters()}
    for name, tensor in tensors.items():
        kind, _, weight = name.partition("/")
        if kind in AVERAGES:
            averages.setdefault(weight, {})[kind] = tensor.to(devices[weight])
    return state, averages


def write_best(folder: Path, model: nn.Module, best: Best) -> None:
    """Replace the best weights so far."""
    _write(folder / BEST, {f"weight/{name}": tensor for name, tensor in weights_of(model).items()}, dataclasses.asdict(best))


def load_best(folder: str | Path, model: nn.Module) -> Best:
    """Load the weights of a run's best evaluation into what was trained, and say which one that was.

    Raises `MiniragError` where none was kept (name a metric as `best` in the settings), or the file is damaged.
    """
    path = Path(folder) / BEST
    if not path.exists():
        raise MiniragError(f"{path} does not exist; train with `best` set to the name of a metric that the evaluation gives")
    tensors, fields = _read(path)
    _fill(model, {name.removeprefix("weight/"): tensor for name, tensor in tensors.items()}, path)
    return Best(**fields)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, each once, whatever number of names it has."""
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def _fill(model: nn.Module, saved: dict[str, Tensor], path: Path) -> None:
    own = weights_of(model)
    kinds, found = ({n: (t.shape, t.dtype) for n, t in tensors.items()} for tensors in (own, saved))
    if kinds != found:
        odd = next(name for name in (*own, *saved) if kinds.get(name) != found.get(name))
        raise MiniragError(f"{path} holds another model's weights ({odd} differs); choose another folder")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def _write(path: Path, tensors: dict[str, Tensor], fields: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    tensors = {name: tensor.cpu().contiguous() for name, tensor in sorted(tensors.items())}
    told = json.dumps(fields)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"fields": told, "checksum": checksum(told, tensors)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    damaged = f"{path} is damaged; remove it, and train again"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise MiniragError(f"{damaged} ({error})") from None
    told = metadata.get("fields", "")
    if metadata.get("checksum") != checksum(told, tensors):
        raise MiniragError(damaged)
    return tensors, json.loads(told)


def checksum(told: str, tensors: dict[str, Tensor]) -> str:
    """A name for a text and tensors, which lie on the CPU without gaps."""
    kinds = (f"{name} {tensor.dtype} {list(tensor.shape)}" for name, tensor in tensors.items())
    raw = (tensor.reshape(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors.values())
    return fingerprint_of(told, *kinds, *raw)
