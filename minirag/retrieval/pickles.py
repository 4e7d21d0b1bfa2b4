"""A pickled list of arrays, read without running the pickle.

A pickle is a program for a small stack machine, and Python's machine imports and calls whatever the program names: to load one
from a stranger is to run his code. The machine here knows only what a list of numbers, text and vectors is written with, in
the protocols 0 to 5. The few functions that numpy's arrays name are marks to it (`pickled_arrays.py`): nothing is imported and
nothing is called. Any other name or instruction, a nested list, an array of objects ends the reading.

The file is mapped, and vectors stay in it. What the machine holds, some hundred bytes for each thing in the pickle, is bounded
by the file's size: no instruction makes more than it takes up, tuples are short and flat, and what is memorised is numbered
without gaps, so that four bytes cannot ask for gigabytes.
"""

import mmap
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.retrieval.pickled_arrays import LONGEST_WORD, NAMES, Malformed, Raw, Text, Vector, called, set_state

LONGEST_TUPLE = 9  # numpy writes none longer
_LIST = object()  # the one list, whose items are handed out as they come

Item = int | str | Vector | tuple[Any, ...]


def pickled_items(path: str | Path) -> Iterator[Item]:
    """The items of a pickled list, one by one: whole numbers, texts, `Vector`s, and tuples of these.

    Raises `MiniragError`, with the byte at which it stands, for a pickle that is anything else, is cut short or goes on behind
    its end. The end is seen last: what was made of the items until then is not to be kept.

    >>> path = getfixture("tmp_path") / "index_meta.dpr"
    >>> path.write_bytes(pickle.dumps(["wiki:1", "wiki:2"])) and list(pickled_items(path))
    ['wiki:1', 'wiki:2']
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise MiniragError(f"{path} is empty; fetch or write it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from _Machine(data, path).items()
    except OSError as error:
        raise MiniragError(f"cannot read {path}: {error.strerror or error}; check the path") from None


class _Machine:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.ready: list[Any] = []  # new items of the list
        self.listed = self.stopped = False

    def items(self) -> Iterator[Item]:
        while not self.stopped:
            begin = self.at
            try:
                instruction = INSTRUCTIONS.get(self.take(1))
                if instruction is None:
                    raise Malformed(f"the instruction {self.data[begin]:#04x} is none that a list of arrays needs")
                instruction(self)
                new = [self.item(value) for value in self.ready] if self.ready else ()
            except Malformed as error:
                raise MiniragError(
                    f"{self.path}, byte {begin}: {error}; only lists of ids and vectors are read, and none is run"
                ) from None
            except (IndexError, KeyError, TypeError, ValueError) as error:
                raise MiniragError(
                    f"{self.path}, byte {begin}: the pickle is cut short or damaged ({_shown(str(error))}); get it anew"
                ) from None
            self.ready.clear()
            yield from new

    def item(self, value: Any) -> Item:
        if isinstance(value, Text):
            return value.word(self.data)
        if isinstance(value, tuple):
            return tuple(self.item(each) for each in value)
        if type(value) is int or (isinstance(value, Vector) and value.dim):
            return value
        raise Malformed("the list holds something that is neither number, text nor vector")

    # Reading on.

    def take(self, n: int) -> bytes:
        begin = self.skip(n)
        return self.data[begin : self.at]

    def skip(self, n: int) -> int:
        """Go on by n bytes; return where they began."""
        if n > len(self.data) - self.at:
            raise ValueError("it ends in the middle")
        self.at += n
        return self.at - n

    def count(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def line(self) -> tuple[int, int]:
        """Where the bytes up to the next line end begin and end."""
        begin, end = self.at, self.data.find(b"\n", self.at)
        if end < 0:
            raise ValueError("it ends in the middle of a line")
        self.at = end + 1
        return begin, end

    def short_line(self) -> str:
        begin, end = self.line()
        if end - begin > LONGEST_WORD:
            raise Malformed("a number or name is very long")
        return self.data[begin:end].decode("ascii")

    # What instructions do.

    def protocol(self, number: int) -> None:
        if number > 5:
            raise Malformed(f"it is of protocol {number}, which is not known")

    def stretch(self, kind: type[Text] | type[Raw], length: int, codec: str) -> None:
        begin = self.skip(self.count(length))
        self.stack.append(kind(begin, self.at, codec))

    def decimal(self) -> None:
        digits = self.short_line().removesuffix("L")
        self.whole({"00": False, "01": True}[digits] if digits in ("00", "01") else int(digits))

    def whole(self, number: int) -> None:
        if not -(1 << 63) <= number < 1 << 64:
            raise Malformed("a number has more than 64 bits")
        self.stack.append(number)

    def top(self, n: int) -> list[Any]:
        if len(self.stack) < n:
            raise IndexError("its stack is empty")
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

    def since_mark(self) -> list[Any]:
        place = self.marks.pop()
        values = self.stack[place:]
        del self.stack[place:]
        return values

    def tuple_of(self, values: list[Any]) -> None:
        inner = (part for value in values if type(value) is tuple for part in value)
        if len(values) > LONGEST_TUPLE or any(type(part) is tuple for part in inner):
            raise Malformed("a tuple is longer or more deeply nested than those of arrays")
        self.stack.append(tuple(values))

    def begin_list(self, values: list[Any]) -> None:
        if self.listed:
            raise Malformed("there is a list within the list")
        self.listed = True
        self.stack.append(_LIST)
        self.ready += values

    def append(self, values: list[Any]) -> None:
        if self.stack[-1] is not _LIST:
            raise Malformed("something is appended to what is no list")
        self.ready += values

    def memorise(self, number: int) -> None:
        if not 0 <= number <= len(self.memo):
            raise Malformed(f"thing {number} is to be memorised where there are {len(self.memo)}")
        self.memo[number : number + 1] = [self.stack[-1]]

    def recall(self, number: int) -> None:
        if number < 0:
            raise IndexError("it recalls what it never memorised")
        self.stack.append(self.memo[number])

    def name(self, module: str, name: str) -> None:
        if (module, name) not in NAMES:
            raise Malformed(f"it names {_shown(f'{module}.{name}')}, which no array needs and which may run a program")
        self.stack.append(NAMES[module, name])

    def name_of_texts(self) -> None:
        match self.top(2):
            case Text() as module, Text() as name:
                self.name(module.word(self.data), name.word(self.data))
            case _:
                raise Malformed("a name is no text")

    def call(self) -> None:
        name, arguments = self.top(2)
        self.stack.append(called(name, arguments, self.data))

    def build(self) -> None:
        made, state = self.top(2)
        set_state(made, state, self.data)
        self.stack.append(made)

    def stop(self) -> None:
        if len(self.stack) != 1 or self.stack[0] is not _LIST or self.marks:
            raise Malformed("the pickle is not one list")
        if self.at != len(self.data):
            raise Malformed("the file goes on behind the pickle's end")
        self.stopped = True


def _shown(text: str) -> str:
    """A stranger's text in an error's sentence."""
    return ascii(text)[1:-1][:100]


INSTRUCTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    pickle.PROTO: lambda machine: machine.protocol(machine.count(1)),
    pickle.FRAME: lambda machine: machine.skip(8),  # advice on reading ahead
    pickle.STOP: _Machine.stop,
    pickle.MARK: lambda machine: machine.marks.append(len(machine.stack)),
    # Values.
    pickle.NONE: lambda machine: machine.stack.append(None),
    pickle.NEWTRUE: lambda machine: machine.stack.append(True),
    pickle.NEWFALSE: lambda machine: machine.stack.append(False),
    pickle.INT: _Machine.decimal,
    pickle.LONG: _Machine.decimal,
    pickle.BININT: lambda machine: machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True)),
    pickle.BININT1: lambda machine: machine.stack.append(machine.count(1)),
    pickle.BININT2: lambda machine: machine.stack.append(machine.count(2)),
    pickle.LONG1: lambda machine: machine.whole(int.from_bytes(machine.take(machine.count(1)), "little", signed=True)),
    pickle.UNICODE: lambda machine: machine.stack.append(Text(*machine.line(), "raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: lambda machine: machine.stretch(Text, 1, "utf-8"),
    pickle.BINUNICODE: lambda machine: machine.stretch(Text, 4, "utf-8"),
    pickle.BINUNICODE8: lambda machine: machine.stretch(Text, 8, "utf-8"),
    pickle.SHORT_BINBYTES: lambda machine: machine.stretch(Raw, 1, ""),
    pickle.BINBYTES: lambda machine: machine.stretch(Raw, 4, ""),
    pickle.BINBYTES8: lambda machine: machine.stretch(Raw, 8, ""),
    pickle.BYTEARRAY8: lambda machine: machine.stretch(Raw, 8, ""),
    # Tuples and the list.
    pickle.TUPLE1: lambda machine: machine.tuple_of(machine.top(1)),
    pickle.TUPLE2: lambda machine: machine.tuple_of(machine.top(2)),
    pickle.TUPLE3: lambda machine: machine.tuple_of(machine.top(3)),
    pickle.TUPLE: lambda machine: machine.tuple_of(machine.since_mark()),
    pickle.EMPTY_LIST: lambda machine: machine.begin_list([]),
    pickle.LIST: lambda machine: machine.begin_list(machine.since_mark()),
    pickle.APPEND: lambda machine: machine.append(machine.top(1)),
    pickle.APPENDS: lambda machine: machine.append(machine.since_mark()),
    # What was there before.
    pickle.MEMOIZE: lambda machine: machine.memorise(len(machine.memo)),
    pickle.PUT: lambda machine: machine.memorise(int(machine.short_line())),
    pickle.BINPUT: lambda machine: machine.memorise(machine.count(1)),
    pickle.LONG_BINPUT: lambda machine: machine.memorise(machine.count(4)),
    pickle.GET: lambda machine: machine.recall(int(machine.short_line())),
    pickle.BINGET: lambda machine: machine.recall(machine.count(1)),
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.count(4)),
    # Names, and what is made by them.
    pickle.GLOBAL: lambda machine: machine.name(machine.short_line(), machine.short_line()),
    pickle.STACK_GLOBAL: _Machine.name_of_texts,
    pickle.REDUCE: _Machine.call,
    pickle.BUILD: _Machine.build,
}
