"""Are two results the same, and if not, in what; and results written so that a student can read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

_LONGEST = 300  # characters of a value that are shown


def differ(expected: Any, got: Any, tolerance: float) -> str:
    """In what `got` differs from `expected`, in a sentence; empty if in nothing.

    Numbers and tensors may differ by `tolerance`, relative and absolute; a list may stand for a tuple, an int for a float.

    >>> differ([1.0, 2.0], (1, 2.00001), 1e-4)
    ''
    >>> differ(torch.zeros(2, 3), torch.zeros(3, 2), 1e-4)
    'its shape is [3, 2] and should be [2, 3].'
    """
    if isinstance(expected, Tensor):
        return _tensors(expected, got, tolerance)
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return "" if type(got) is type(expected) and got == expected else _value(expected, got)
    if isinstance(expected, Real):
        number = got.item() if isinstance(got, Tensor) and got.numel() == 1 else got
        if isinstance(number, bool) or not isinstance(number, Real):
            return _value(expected, got)
        if isinstance(expected, int):
            return "" if number == expected else "its value is wrong."
        return "" if _close(float(expected), float(number), tolerance) else "its value is wrong."
    if isinstance(expected, (set, frozenset)):
        return "" if isinstance(got, (set, frozenset)) and got == expected else _value(expected, got)
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            return _value(expected, got)
        if set(expected) != set(got):
            return "its keys are wrong."
        return next(filter(None, (differ(each, got[key], tolerance) for key, each in expected.items())), "")
    if isinstance(expected, Sequence):
        if not isinstance(got, Sequence) or isinstance(got, str):
            return _value(expected, got)
        if len(expected) != len(got):
            return f"it has {len(got)} entries and should have {len(expected)}."
        return next(filter(None, (differ(*pair, tolerance) for pair in zip(expected, got, strict=True))), "")
    if is_dataclass(expected) and type(expected) is type(got):
        pairs = ((getattr(expected, field.name), getattr(got, field.name)) for field in fields(expected))
        return next(filter(None, (differ(*pair, tolerance) for pair in pairs)), "")
    return _value(expected, got)


def shown(value: Any) -> str:
    """A value in a line: tensors as lists with three digits, long ones cut.

    >>> shown((torch.tensor([[1.0, 0.3333333]]), "a"))
    "(tensor([[1, 0.333]]), 'a')"
    """
    text = _written(value)
    size = f" (shape {list(value.shape)})" if isinstance(value, Tensor) else ""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …" + size


def _written(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.numel() > _LONGEST:
            return f"tensor of shape {list(value.shape)}, its first entries {_written(value.detach().flatten()[:8].tolist())}"
        return f"tensor({_written(value.detach().tolist())})"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int) and value.bit_length() > 1_000:  # Python itself refuses to write longer ones
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_written(key)}: {_written(each)}" for key, each in value.items()) + "}"
    return repr(value)


def _tensors(expected: Tensor, got: Any, tolerance: float) -> str:
    if not isinstance(got, Tensor):
        return _value(expected, got)
    if got.shape != expected.shape:
        return f"its shape is {list(got.shape)} and should be {list(expected.shape)}."
    if got.is_floating_point() != expected.is_floating_point() or (got.dtype == torch.bool) != (expected.dtype == torch.bool):
        return f"its dtype is {got.dtype} and should be {expected.dtype}."
    got = got.detach().to(expected.dtype)
    if torch.allclose(expected.double(), got.double(), rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    return "its values are wrong."


def _close(a: float, b: float, tolerance: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def _value(expected: Any, got: Any) -> str:
    if type(expected) is type(got):
        return "its value is wrong."
    return f"its type is {type(got).__name__} and should be {type(expected).__name__}."
