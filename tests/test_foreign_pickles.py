"""Pickles are read as lists of ids and vectors, whoever wrote them; whatever else is in one is refused, and nothing is run."""

import builtins
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from minirag.errors import MiniragError
from minirag.retrieval.pickled_arrays import Vector
from minirag.retrieval.pickles import INSTRUCTIONS, pickled_items

PROTOCOLS = range(6)
V = np.array([1.5, -2.0, 3.25], np.float32)


def read(path: Path) -> list:
    """The items with their vectors as arrays."""
    data = path.read_bytes()

    def array(value):
        if isinstance(value, tuple):
            return tuple(map(array, value))
        return np.frombuffer(value.bytes_in(data), value.dtype) if isinstance(value, Vector) else value

    return [array(item) for item in pickled_items(path)]


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def same(found: list, rows: list) -> bool:
    return len(found) == len(rows) and all(
        i == j and v.dtype == w.dtype and np.array_equal(v, w) for (i, v), (j, w) in zip(found, rows, strict=True)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_python_writes_is_read(tmp_path: Path, protocol: int) -> None:
    rows = [(f"wiki:{i}", V * i) for i in range(1_100)]  # more than a pickler appends at once
    big = np.arange(70_000, dtype=np.float32)  # beyond a frame
    rows += [(7, V.astype(np.float16)), ("é\n\\", V.astype(np.float64)), (-3, V.astype(">f4")), (1 << 40, np.arange(9.0)[::3])]
    rows += [("big", big), ("again", big)]
    frozen = V.copy()
    frozen.flags.writeable = False
    rows.append((np.int64(-12), frozen))
    path = written(tmp_path / "out_0", pickle.dumps(rows, protocol))
    assert same(read(path), rows)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pythons_other_pickler_and_lists_of_ids(tmp_path: Path, protocol: int) -> None:
    with open(tmp_path / "slow", "wb") as file:
        pickle._Pickler(file, protocol).dump([("a", V), ("b", V + 1)])  # the one in Python, which numbers the memo by itself
    assert same(read(tmp_path / "slow"), [("a", V), ("b", V + 1)])
    ids = ["wiki:1", 5, "wiki:3"]
    assert list(pickled_items(written(tmp_path / "index_meta.dpr", pickle.dumps(ids, protocol)))) == ids
    assert list(pickled_items(written(tmp_path / "empty", pickle.dumps([], protocol)))) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_1_named_its_modules_otherwise(tmp_path: Path, protocol: int) -> None:
    rows = [("wiki:1", V), ("wiki:2", V * 2), (np.int32(4), V)]
    raw = pickle.dumps(rows, protocol)
    old = raw
    for name in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        new = name.replace(b"_core", b"core")
        old = old.replace(bytes([len(name)]) + name, bytes([len(new)]) + new).replace(b"c" + name, b"c" + new)
    if protocol >= 4:  # the frame is shorter then
        old = old[:3] + struct.pack("<Q", len(old) - 11) + old[11:]
    assert old != raw
    assert b"_core" not in old
    assert same(read(written(tmp_path / "old", old)), rows)


@given(
    ids=st.lists(st.one_of(st.text(max_size=20), st.integers(-(1 << 63), (1 << 64) - 1)), max_size=8),
    numbers=st.lists(st.floats(width=16), min_size=1, max_size=5),
    dtype=st.sampled_from(["<f2", "<f4", "<f8", ">f4"]),
    protocol=st.sampled_from(PROTOCOLS),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ids_and_numbers(tmp_path: Path, ids: list, numbers: list, dtype: str, protocol: int) -> None:
    rows = [(id, np.array(numbers, dtype)) for id in ids]
    found = read(written(tmp_path / "x", pickle.dumps(rows, protocol)))
    assert [id for id, _ in found] == ids
    assert all(v.tobytes() == np.array(numbers, dtype).tobytes() for _, v in found)


class Runs:
    """A pickle of this calls `function`."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def numpys_load(path: str):
    return np.load(path, allow_pickle=True)


HOSTILE = {
    "os.system": lambda mark: Runs(os.system, f"touch {mark}"),
    "eval": lambda mark: Runs(builtins.eval, f"open({mark!r}, 'w')"),
    "exec": lambda mark: Runs(builtins.exec, f"open({mark!r}, 'w')"),
    "open": lambda mark: Runs(open, mark, "w"),
    "getattr": lambda mark: Runs(getattr, "text", "join"),
    "numpy.load": lambda mark: Runs(np.load, mark, None, True),
    "another class": lambda mark: OrderedDict(a=1),
    "an array of objects": lambda mark: np.array([Runs(os.system, f"touch {mark}")], object),
    "a structured array": lambda mark: np.zeros(2, [("a", "f4")]),
    "whole numbers": lambda mark: np.arange(3),
    "text": lambda mark: np.array(["a", "b"]),
    "dates": lambda mark: np.array(["2018-12-20"], "M8[D]"),
    "a matrix": lambda mark: np.zeros((2, 3), np.float32),
    "no numbers": lambda mark: np.zeros(0, np.float32),
    "a scalar": lambda mark: np.float32(1),
    "a subclass": lambda mark: np.matrix([[1.0]]),
    "a masked array": lambda mark: np.ma.array([1.0], mask=[True]),
    "a dictionary": lambda mark: {"a": 1},
    "a set": lambda mark: {1, 2},
    "a float": lambda mark: 1.5,
    "nothing": lambda mark: None,
    "a truth": lambda mark: True,
    "a list": lambda mark: [1, 2],
    "a nested tuple": lambda mark: (((1,),),),
    "a long tuple": lambda mark: tuple(range(20)),
    "a huge number": lambda mark: 1 << 100,
    "half a character": lambda mark: "\ud800",
    "a memory": lambda mark: Runs(bytearray, 1 << 40),
}


@pytest.mark.filterwarnings("ignore:.*matrix.*:PendingDeprecationWarning")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_vector_is_refused_and_nothing_is_run(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    try:
        raw = pickle.dumps([("a", V), ("b", HOSTILE[name](str(mark)))], protocol)
    except UnicodeEncodeError:
        raw = pickle.dumps([("a", V)], protocol) + b"\xff"  # Python does not write it in this protocol
    with pytest.raises(MiniragError, match=r"x, byte \d+: "):
        list(pickled_items(written(tmp_path / "x", raw)))
    assert not mark.exists()


def test_the_reader_finds_what_would_run(tmp_path: Path) -> None:
    """The mark of the test above does appear where Python's own machine reads."""
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(HOSTILE["os.system"](str(mark)), 4))
    assert mark.exists()


PROGRAMS = {
    "posix.system by hand": (b"cposix\nsystem\n(S'true'\ntR.", "names posix.system, which no array needs"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "names numpy.ndarray.dumps, which no array needs"),
    "a module within numpy": (b"\x80\x04\x8c\x08numpy.os\x8c\x06system\x93.", "names numpy.os.system, which no array needs"),
    "a name not of text": (b"\x80\x04K\x01K\x02\x93.", "a name is no text"),
    "a name of control characters": (b"cos\x1b[2J\nsystem\n.", r"names os\\x1b\[2J.system, which"),
    "another array's class": (
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tC\x01btR.",
        "calls something other",
    ),
    "a subtype with a length": (
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff\x7ftC\x01btR.",
        "calls some",
    ),
    "another codec": (b"c_codecs\nencode\n(X\x03\x00\x00\x00abcX\x05\x00\x00\x00rot13tR.", "calls something other"),
    "the codec of bombs": (b"c_codecs\nencode\n(X\x03\x00\x00\x00abcX\x04\x00\x00\x00zlibtR.", "calls something other"),
    "objects": (b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8\x89\x88tR.", "holds 'O8', not floating"),
    "a dtype's metadata": (
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR(K\x04X\x01\x00\x00\x00<N(tNK\x00K\x00K\x00tb.",
        "sets the state",
    ),
    "instances": (b"(i__main__\nA\n.", "instruction 0x69"),
    "new objects": (b"\x80\x02cnumpy\nndarray\n(K\x09t\x81.", "instruction 0x81"),
    "persistent ids": (b"Pos\n.", "instruction 0x50"),
    "binary persistent ids": (b"K\x01Q.", "instruction 0x51"),
    "the extension registry": (b"\x80\x02\x82\x01.", "instruction 0x82"),
    "the registry, wider": (b"\x80\x02\x83\x01\x00.", "instruction 0x83"),
    "the registry, widest": (b"\x80\x02\x84\x01\x00\x00\x00.", "instruction 0x84"),
    "buffers from outside": (b"\x80\x05\x97.", "instruction 0x97"),
    "python 2's text": (b"S'os'\n.", "instruction 0x53"),
    "a huge number": (b"\x8b\xff\xff\xff\x7f", "instruction 0x8b"),
    "many digits": (b"I" + b"9" * 5_000 + b"\n.", "very long"),
    "no number": (b"I0x1\n.", "cut short or damaged"),
    "a long name": (b"c" + b"a" * 5_000 + b"\nx\n.", "very long"),
    "a new protocol": (b"\x80\x09].", "protocol 9"),
    "bytes that are not there": (b"\x80\x03]\x42\xff\xff\xff\x7f", "cut short"),
    "more bytes than exist": (b"\x80\x05]\x96\xff\xff\xff\xff\xff\xff\xff\xff.", "cut short"),
    "a memo of gigabytes": (b"\x80\x02]r\xff\xff\xff\x7f.", "thing 2147483647 is to be memorised"),
    "a negative memo": (b"]p-1\n.", "thing -1"),
    "an unknown memory": (b"]h\x07.", "cut short or damaged"),
    "a negative memory": (b"]p0\ng-1\n.", "never memorised"),
    "an empty stack": (b"\x80\x02\x85.", "its stack is empty"),
    "a mark too few": (b"]te.", "cut short or damaged"),
    "a list in itself": (b"]q\x00h\x00a.", "neither number, text nor vector"),
    "a second list": (b"]].", "a list within the list"),
    "two values": (b"]K\x01.", "not one list"),
    "no list": (b"K\x01.", "not one list"),
    "appending to a number": (b"K\x01K\x02a.", "no list"),
    "a call of a number": (b"K\x01)R.", "instruction 0x29"),
    "a state of a number": (b"K\x01K\x02b.", "sets the state"),
    "an array without state": (
        b"]cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btRa.",
        "neither number",
    ),
    "nothing behind": (b"]", "cut short"),
    "something behind": (b"].x", "goes on behind"),
    "another pickle behind": (b"].].", "goes on behind"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_written_by_hand(tmp_path: Path, name: str) -> None:
    raw, message = PROGRAMS[name]
    with pytest.raises(MiniragError, match=message):
        list(pickled_items(written(tmp_path / "x", raw)))


def vector_of(dim: bytes, raw: bytes, dtype: bytes = b"f4") -> bytes:
    return (
        b"](X\x01\x00\x00\x00acnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR(K\x01("
        + dim
        + b"tcnumpy\ndtype\n(X\x02\x00\x00\x00"
        + dtype
        + b"\x89\x88tR\x89"
        + raw
        + b"tbta."
    )


@pytest.mark.parametrize(
    "raw",
    [
        vector_of(b"J\xff\xff\xff\x7f", b"C\x04abcd"),
        vector_of(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"C\x04abcd"),
        vector_of(b"K\x02", b"C\x04abcd"),
        vector_of(b"K\x00", b"C\x00"),
        vector_of(b"J\xff\xff\xff\xff", b"C\x04abcd"),
        vector_of(b"K\x01", b"C\x05abcde"),
        vector_of(b"K\x01K\x01", b"C\x04abcd"),
        vector_of(b"K\x01", b"C\x04abcd", b"i4"),
        vector_of(b"K\x01", b"X\x04\x00\x00\x00abcd"),
    ],
)
def test_shapes_that_the_bytes_do_not_fill(tmp_path: Path, raw: bytes) -> None:
    assert len(list(pickled_items(written(tmp_path / "sound", vector_of(b"K\x01", b"C\x04abcd"))))) == 1
    with pytest.raises(MiniragError, match=r"are said to be|sets the state"):
        list(pickled_items(written(tmp_path / "x", raw)))


def test_bombs_end_at_once(tmp_path: Path) -> None:
    deep = b"]K\x01" + b"\x85" * 20_000 + b"a."
    wide = b"](" + b"K\x01" * 20_000 + b"ta."
    doubled = b"]K\x01q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(100)) + b"a."
    for raw in (deep, wide, doubled):
        with pytest.raises(MiniragError, match="longer or more deeply nested"):
            list(pickled_items(written(tmp_path / "x", raw)))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match="is empty"):
        list(pickled_items(written(tmp_path / "x", b"")))
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(MiniragError, match="cannot read"):
            list(pickled_items(path))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_beginning_of_a_file_is_cut_short(tmp_path: Path, protocol: int) -> None:
    raw = pickle.dumps([("wiki:1", V), (2, V)], protocol)
    for length in range(1, len(raw)):
        with pytest.raises(MiniragError):
            list(pickled_items(written(tmp_path / "x", raw[:length])))


@given(
    protocol=st.sampled_from(PROTOCOLS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_an_error_or_other_vectors_and_nothing_else(tmp_path: Path, protocol: int, edits: list) -> None:
    raw = pickle.dumps([("wiki:1", V), (2, V)], protocol)
    for place, new, gone in edits:
        at = int(place * len(raw))
        raw = raw[:at] + new + raw[at + gone :]
    file = written(tmp_path / "x", raw)
    try:
        items = list(pickled_items(file))
    except MiniragError:
        return
    for item in items:  # plain values, and vectors that lie within the file
        parts = item if isinstance(item, tuple) else (item,)
        assert all(isinstance(part, int | str | Vector) for part in parts)


@given(st.lists(st.sampled_from([*INSTRUCTIONS]).map(lambda code: code + b"\x00\x00\x00\x00"[: len(code)]), max_size=40))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_program_of_known_instructions_ends(tmp_path: Path, codes: list) -> None:
    try:
        for item in pickled_items(written(tmp_path / "x", b"".join(codes) + b".")):
            assert isinstance(item, int | str | tuple | Vector)
    except MiniragError:
        pass
