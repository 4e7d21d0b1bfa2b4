"""What crosses between grader and sandbox: values come back as they went, and nothing malformed is believed."""

import json
import math
import os
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minirag.corpus.passages import Passage
from minirag.teaching.checks.compare import differ
from minirag.teaching.grader.pipe import Closed, Pipe, Silent
from minirag.teaching.grader.values import Foreign, Malformed, decode, encode, text_of


def crossed(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(
            st.text(max_size=3) | st.integers() | st.tuples(st.integers(), st.text(max_size=2)), inner, max_size=3
        )
    ),
)


@given(plain)
def test_plain_values_come_back(value: Any) -> None:
    assert repr(crossed(value)) == repr(value)  # so that nan equals nan, and 1 is not 1.0 or True


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_tensors_come_back(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    value = torch.randn(shape).mul(3).to(dtype)
    back = crossed(value)
    assert back.dtype == dtype
    assert torch.equal(back, value)


def test_a_tensor_need_not_be_contiguous_and_loses_its_gradient() -> None:
    value = torch.tensor([[1.0, -math.inf], [math.nan, 4.0]], requires_grad=True)
    back = crossed(value.T)
    assert not back.requires_grad
    assert torch.equal(back.nan_to_num(), value.T.nan_to_num())
    assert crossed(torch.ones(1).expand(3)).tolist() == [1, 1, 1]


def test_what_is_like_a_plain_value_crosses_as_one() -> None:
    assert crossed({3, (1, "a")}) == {3, (1, "a")}
    assert crossed(np.float32(0.5)) == 0.5
    assert crossed(np.int64(3)) == 3
    assert crossed(range(3)) == [0, 1, 2]
    assert crossed(Counter("aab")) == {"a": 2, "b": 1}
    assert crossed(Passage("1", "Bern", "a city")) == Passage("1", "Bern", "a city")


@pytest.mark.parametrize(
    ("value", "kind"), [(np.zeros(2), "ndarray"), (object(), "object"), (np.True_, "bool"), (iter([]), "list_iterator")]
)
def test_what_does_not_cross_keeps_the_name_of_its_type(value: Any, kind: str) -> None:
    back = crossed(value)
    assert isinstance(back, Foreign)
    assert differ([1], back, 0.0) == f"its type is {kind} and should be list."


def test_functions_cross_as_numbers() -> None:
    functions: list[Any] = []
    data = encode((len, [1], max), functions)
    assert functions == [len, max]
    assert decode(data, lambda number: number * 10) == (0, [1], 10)


@pytest.mark.parametrize(
    "data",
    [
        {"tensor": "AACAPw==", "dtype": "float32", "shape": [10**12]},
        {"tensor": "AACAPw==", "dtype": "float32", "shape": [-1, -1]},
        {"tensor": "AACAPw==", "dtype": "float32", "shape": [True]},
        {"tensor": "AACAPw==", "dtype": "float32", "shape": 1},
        {"tensor": "AACAPw==", "dtype": "qint8", "shape": [1]},
        {"tensor": "*", "dtype": "uint8", "shape": [1]},
        {"tensor": "", "dtype": "uint8", "shape": [0] * 99},
        {"tensor": "AA=="},
        {"set": [[1]]},
        {"set": list(range(10_001))},
        {"dict": [[1]]},
        {"dict": [[n, n] for n in range(10_001)]},
        {"float": "1"},
        {"passage": ["a", "b"]},
        {"passage": [1, 2, 3]},
        {"function": 0},
        {"pickle": "gASVBAAAAAAAAABLAS4="},
        {"tuple": 7},
        {},
        {"tuple": [], "set": []},
    ],
    ids=str,
)
def test_malformed_values_are_refused(data: Any) -> None:
    with pytest.raises(Malformed):
        decode(data)


def test_depth_is_no_way_to_crash_the_reader() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Malformed):
        decode(deep)
    while isinstance(deep, list):  # taken apart by hand: so deep a list is freed by recursion otherwise
        deep = deep.pop()


def test_text_is_fit_for_any_file() -> None:
    assert text_of("a\x1b[2J\x00\ud83d b\nc\t\x85\uffff") == "a[2J\ufffd b\nc\t\ufffd"
    assert text_of("x" * 3000, 10) == "x" * 10 + " …"
    assert text_of(["no text"]) == ""


class Ends:
    """Two ends of a way there and back."""

    def __init__(self, longest: int = 100) -> None:
        (a, self.theirs_out), (self.theirs_in, b) = os.pipe(), os.pipe()
        self.stop = threading.Event()
        self.pipe = Pipe(a, b, longest, self.stop)
        self.open = [a, b, self.theirs_out, self.theirs_in]

    def say(self, raw: bytes) -> None:
        os.write(self.theirs_out, raw)

    def close(self, *which: int) -> None:
        for each in which or tuple(self.open):
            os.close(each)
            self.open.remove(each)


@pytest.fixture
def ends():
    made = Ends()
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + 0.05


def test_messages_go_there_and_back(ends: Ends) -> None:
    ends.pipe.send({"a": [1, None]})
    assert os.read(ends.theirs_in, 100) == b'{"a": [1, null]}\n'
    ends.say(b'{"b": 1}\n{"c"')
    assert ends.pipe.receive(soon()) == {"b": 1}
    ends.say(b": 2}\n")
    assert ends.pipe.receive(soon()) == {"c": 2}


@pytest.mark.parametrize("raw", [b"{]\n", b"[1]\n", b"\xff\xfe\n", b"\n", b"x" * 200, b"[" * 99 + b"\n"])
def test_what_is_no_message_is_malformed(ends: Ends, raw: bytes) -> None:
    ends.say(raw)
    with pytest.raises(Malformed):
        ends.pipe.receive(soon())


def test_silence_ends(ends: Ends) -> None:
    ends.say(b'{"half": ')
    with pytest.raises(Silent):
        ends.pipe.receive(soon())
    with pytest.raises(Silent):  # and so does sending to somebody who takes nothing
        ends.pipe.send({"much": "x" * 1_000_000}, soon())


def test_a_closed_end_is_seen(ends: Ends) -> None:
    ends.close(ends.theirs_out, ends.theirs_in)
    with pytest.raises(Closed):
        ends.pipe.receive(soon())
    with pytest.raises(Closed):
        ends.pipe.send({}, soon())


def test_stopping_ends_all_waiting(ends: Ends) -> None:
    ends.stop.set()
    with pytest.raises(Closed):
        ends.pipe.receive(None)
