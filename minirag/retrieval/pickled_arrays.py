"""What stands in the pickle of a numpy array, as the machine of `pickles.py` sees it: marks and places, nothing that runs.

numpy writes an array as calls: "make an array, then set its state to this shape, this type and these bytes". Each function
named there is a `Name` here; `called` and `set_state` say what a call stands for if it has exactly numpy's form, and refuse it
otherwise. The numbers stay in the file.
"""

import enum
from dataclasses import dataclass
from typing import Any

LONGEST_WORD = 1_000  # bytes of an id or a name
FLOATS = {"f2": 2, "f4": 4, "f8": 8}
WHOLE = {f"{sign}{size}": size for sign in "iu" for size in (1, 2, 4, 8)}


class Malformed(Exception):
    """What is wrong at the present instruction."""


@dataclass(frozen=True, slots=True)
class Text:
    """Where in the file some text stands, and its codec."""

    start: int
    stop: int
    codec: str

    def word(self, data: Any) -> str:
        """The text, if it is short."""
        if self.stop - self.start > LONGEST_WORD:
            raise Malformed("an id or name is very long")
        word: str = data[self.start : self.stop].decode(self.codec)
        word.encode()  # ValueError for half a character, which an escape may have made
        return word


@dataclass(frozen=True, slots=True)
class Raw:
    """Where bytes stand. Protocols 0 to 2 write them as text, each byte one character: then `codec` is that text's, else ""."""

    start: int
    stop: int
    codec: str

    def bytes_in(self, data: Any) -> bytes:
        raw = bytes(data[self.start : self.stop])
        return raw.decode(self.codec).encode("latin-1") if self.codec else raw


@dataclass(slots=True)
class Dtype:
    """A type of numbers: "f4", and the order of bytes "<" or ">" ("=" until it is told)."""

    code: str
    order: str = "="


@dataclass(slots=True)
class Vector:
    """An array of one dimension: `dim` numbers of type `dtype` (such as "<f4"), whose bytes are `raw`; 0 until told."""

    dim: int = 0
    dtype: str = ""
    raw: Raw = Raw(0, 0, "")

    def bytes_in(self, data: Any) -> bytes:
        """The numbers' bytes. Raises ValueError where they are fewer or more, as text may turn out to be."""
        raw = self.raw.bytes_in(data)
        if len(raw) != self.dim * int(self.dtype[2:]):
            raise ValueError(f"{len(raw)} bytes for {self.dim} numbers of type {self.dtype}")
        return raw


class Name(enum.Enum):
    """All that a pickle may name."""

    NDARRAY = enum.auto()
    DTYPE = enum.auto()
    ENCODE = enum.auto()
    ARRAY = enum.auto()
    NUMBER = enum.auto()
    BUFFER = enum.auto()


NAMES = {("numpy", "ndarray"): Name.NDARRAY, ("numpy", "dtype"): Name.DTYPE, ("_codecs", "encode"): Name.ENCODE}
for _core in ("core", "_core"):  # numpy 1 and 2
    NAMES[f"numpy.{_core}.multiarray", "_reconstruct"] = Name.ARRAY
    NAMES[f"numpy.{_core}.multiarray", "scalar"] = Name.NUMBER
    NAMES[f"numpy.{_core}.numeric", "_frombuffer"] = Name.BUFFER


def called(name: Any, arguments: Any, data: Any) -> Vector | Dtype | Raw | int:
    """What numpy means by calling `name` so. Raises `Malformed` for any other call."""
    match name, arguments:
        case Name.ARRAY, (Name.NDARRAY, (0,), Raw()):
            return Vector()
        case Name.DTYPE, (Text() as code, bool() | 0 | 1, bool() | 0 | 1):
            return _dtype(code.word(data))
        case Name.ENCODE, (Text() as text, Text() as codec) if codec.word(data) == "latin1":
            return Raw(text.start, text.stop, text.codec)
        case Name.BUFFER, (Raw() as raw, Dtype() as dtype, (int() as dim,), Text()):
            return _filled(Vector(), dim, dtype, raw)
        case Name.NUMBER, (Dtype() as dtype, Raw() as raw) if raw.stop - raw.start <= LONGEST_WORD:
            number = raw.bytes_in(data)
            if len(number) == WHOLE.get(dtype.code):
                return int.from_bytes(number, "big" if dtype.order == ">" else "little", signed=dtype.code[0] == "i")
    raise Malformed("it calls something other than numpy's making of a vector")


def set_state(made: Any, state: Any, data: Any) -> None:
    """What numpy means by giving `made` this state. Raises `Malformed` for any other state."""
    match made, state:
        case Vector(dim=0), (1, (int() as dim,), Dtype() as dtype, bool() | 0 | 1, Raw() as raw):
            _filled(made, dim, dtype, raw)
        case Dtype(), (3 | 4, Text() as order, None, None, None, int(), int(), int()) if order.word(data) in (
            "<",
            ">",
            "|",
            "=",
        ):
            made.order = order.word(data)
        case _:
            raise Malformed("it sets the state of something other than an array of one dimension")


def _dtype(code: str) -> Dtype:
    if code not in FLOATS and code not in WHOLE:
        raise Malformed(f"an array holds {code[:20]!r}, not floating-point numbers")
    return Dtype(code)


def _filled(vector: Vector, dim: int, dtype: Dtype, raw: Raw) -> Vector:
    """Say where the numbers are; a shape that the bytes cannot fill is refused before anybody makes room for it."""
    size, length = FLOATS.get(dtype.code), raw.stop - raw.start
    if size is None or dim < 1 or dim * size > length or (not raw.codec and dim * size < length):
        raise Malformed(f"{length} bytes are said to be {dim} numbers of type {dtype.code!r}")
    vector.dim, vector.raw = int(dim), raw
    vector.dtype = f"{'>' if dtype.order == '>' else '<'}{dtype.code}"
    return vector
