"""Values as JSON and back: what may cross between the grader and the sandbox, and nothing else. Never pickle.

JSON has no tuples, tensors or infinities: they are objects of one key, the tag. What comes out of a sandbox is believed in
nothing: sizes are compared before memory is taken, and anything unforeseen is `Malformed`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from minirag.corpus.passages import Passage

_NAMES = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64"
_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _NAMES.split()}
_NAME_OF = {dtype: name for name, dtype in _DTYPES.items()}
_MOST_KEYS = 10_000  # in a set or dict: numbers can be chosen so that all collide, and then time grows with the square
_MOST_AXES = 16


class Malformed(ValueError):
    """What came back is not what a worker sends."""


class Foreign:
    """Stands for a value of a type that does not cross; its class carries that type's name."""


def encode(value: Any, functions: list[Any] | None = None) -> Any:
    """What `json.dumps` takes. Functions are appended to `functions` and go as their place there.

    >>> encode((1, float("inf"), {"a": [True, None]}))
    {'tuple': [1, {'float': 'inf'}, {'dict': [['a', [True, None]]]}]}
    >>> decode(encode({3, 4})) == {3, 4}
    True
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, Passage):
        return {"passage": [value.id, value.title, value.text]}
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, Mapping):
        return {"dict": [[encode(key, functions), encode(each, functions)] for key, each in value.items()]}
    if isinstance(value, (set, frozenset)):
        return {"set": [encode(each, functions) for each in value]}
    if isinstance(value, tuple):
        return {"tuple": [encode(each, functions) for each in value]}
    if isinstance(value, Sequence):
        return [encode(each, functions) for each in value]
    if callable(value) and functions is not None:
        functions.append(value)
        return {"function": len(functions) - 1}
    return {"foreign": type(value).__name__}


def decode(data: Any, function: Callable[[int], Any] | None = None) -> Any:
    """The value that was encoded; `function` makes one of a number. Raises `Malformed`, whatever is wrong.

    >>> decode({"tensor": "AACAPw==", "dtype": "float32", "shape": [1]})
    tensor([1.])
    >>> decode({"tensor": "AACAPw==", "dtype": "float32", "shape": [10**9]})
    Traceback (most recent call last):
    minirag.teaching.grader.values.Malformed: a tensor of shape [1000000000] has other than 4 bytes
    """
    try:
        return _decode(data, function)
    except Malformed:
        raise
    except Exception as error:  # also RecursionError
        raise Malformed(f"{type(error).__name__} while reading a value") from None


def text_of(value: Any, longest: int = 2000) -> str:
    """A string of a message as text that any file can hold: cut, no control characters, no halves of characters.

    >>> text_of("a\\x00b\\ud800"), text_of(7)
    ('ab\ufffd', '')
    """
    if not isinstance(value, str):
        return ""
    cut = value if len(value) <= longest else value[:longest] + " …"
    return "".join(
        "\ufffd" if "\ud800" <= each <= "\udfff" or each in "\ufffe\uffff" else each
        for each in cut
        if each in "\n\t" or not (each < " " or "\x7f" <= each < "\xa0")
    )


def _decode(data: Any, function: Callable[[int], Any] | None) -> Any:
    if data is None or isinstance(data, (bool, str, int, float)):
        return data
    if isinstance(data, list):
        return [_decode(each, function) for each in data]
    if "tensor" in data:
        return _read_tensor(data["tensor"], data["dtype"], data["shape"])
    ((tag, inner),) = data.items()
    if tag == "tuple":
        return tuple(_decode(each, function) for each in inner)
    if tag == "dict" and len(inner) <= _MOST_KEYS:
        return {_decode(key, function): _decode(each, function) for key, each in inner}
    if tag == "set" and len(inner) <= _MOST_KEYS:
        return {_decode(each, function) for each in inner}
    if tag == "float" and inner in ("inf", "-inf", "nan"):
        return float(inner)
    if tag == "passage" and len(inner) == 3 and all(isinstance(each, str) for each in inner):
        return Passage(*inner)
    if tag == "function" and function is not None and type(inner) is int:
        return function(inner)
    if tag == "foreign":
        return type(text_of(inner, 60), (Foreign,), {})()
    raise Malformed(f"an object tagged {text_of(tag, 20)!r}")


def _tensor(value: Tensor) -> dict[str, Any]:
    plain = value.detach()
    name = _NAME_OF.get(plain.dtype)
    if name is None or plain.layout != torch.strided:
        return {"foreign": f"Tensor of {plain.dtype}, {plain.layout}"}
    raw = plain.cpu().contiguous().resolve_conj().resolve_neg().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"tensor": base64.b64encode(raw).decode(), "dtype": name, "shape": list(plain.shape)}


def _read_tensor(data: str, name: str, shape: list[int]) -> Tensor:
    dtype, raw = _DTYPES[name], bytearray(base64.b64decode(data, validate=True))
    if len(shape) > _MOST_AXES or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise Malformed("a tensor's shape")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise Malformed(f"a tensor of shape {shape} has other than {len(raw)} bytes")
    if not raw:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(raw, dtype=torch.uint8)
    return (flat != 0 if dtype is torch.bool else flat.view(dtype)).reshape(shape)
