"""Benchmarks in miniature: the rows' form, that `equal` can fail, and that turns are fair."""

import pytest
import torch

from minirag.bench import decode, loss, memory, pq, search
from minirag.bench.encode import bert_tokenizer
from minirag.bench.rag_pair import contexts
from minirag.bench.turns import seconds_row, take_turns
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import BartConfig
from minirag.rag.decode import Generated, Hypothesis


def test_search_rows_have_the_form_that_outsiders_read() -> None:
    rows = search.rows(n=600, dim=16, batches=(1, 12), repeats=1, hnsw_rows=200, progress=False)
    assert len(rows) == 1 + 3 * 2 + 1
    for row in rows:
        assert row.keys() == {"case", "ours", "peer", "peer_name", "unit", "ratio", "equal"}
        assert row["ours"] >= 0
        assert row["peer_name"].startswith("faiss")
    assert all(row["equal"] for row in rows[:-1])


def test_equal_sees_a_wrong_id_a_wrong_score_and_forgives_a_tie() -> None:
    vectors, queries = torch.randn(300, 8), torch.randn(4, 8)
    vectors[[3, 7]] = vectors[3] * 10
    queries[0] = vectors[3]  # its first two places are a tie
    truth = search._brute_force(vectors, queries)
    scores, ids = truth[0][:, : search.K].float(), truth[1][:, : search.K]
    assert search._equal((scores, ids), truth, queries, vectors)
    swapped = ids.clone()
    swapped[0, :2] = swapped[0, [1, 0]]
    assert search._equal((scores, swapped), truth, queries, vectors)
    wrong = ids.clone()
    wrong[1, 5] = wrong[1, 6]
    assert not search._equal((scores, wrong), truth, queries, vectors)
    assert not search._equal((scores + 0.1, ids), truth, queries, vectors)


def test_turns_alternate_and_the_warm_up_is_not_counted(monkeypatch) -> None:
    order = []
    clock = iter(map(float, range(1_000)))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    seconds, results = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert seconds == {"a": 1, "b": 1}
    assert results == {"a": None, "b": None}
    assert seconds_row("case", ours=2.0, peer=6.0, peer_name="peer", equal=True)["ratio"] == 3.0


# Positions for the peer's 300 tokens; BERT's 30,522 pieces of words, in which the contexts are written.
SMALL = BartConfig(30_522, 16, 1, 1, 2, 2, 16, 16, positions=320)
PASSAGES = [Passage(str(i), f"Title {i}", f"some text about the number {i} " * (i + 1)) for i in range(4)]


def test_decoding_beside_transformers_gives_the_same_hypotheses() -> None:
    rows = decode.run(PASSAGES, questions=2, k=2, beams=2, new_tokens=4, rounds=1, config=SMALL)
    assert [row["case"].partition(":")[0] for row in rows] == ["token", "thorough"]
    for row in rows:
        assert row.keys() == {"case", "ours", "peer", "peer_name", "unit", "ratio", "equal"}
        assert row["equal"]


def test_a_training_step_beside_transformers_gives_the_same_losses(monkeypatch) -> None:
    monkeypatch.setattr(loss, "peak_alone", memory.peak)  # without a process of its own for each
    rows = loss.run(PASSAGES, questions=2, k=2, rounds=1, config=SMALL)
    assert [row["unit"] for row in rows] == ["s", "s", "GB"] * 2
    assert all(row["equal"] for row in rows)
    assert rows[0]["case"].endswith("peer padded to 300")


def test_other_hypotheses_and_other_losses_are_seen() -> None:
    one = Generated([[Hypothesis([5, 6], -1.0, -1.0)]], 1, 1)
    assert decode.same(one, torch.tensor([[2, 5, 6]]))
    assert not decode.same(one, torch.tensor([[2, 5, 7]]))
    here, there = (torch.tensor([3.0]), torch.tensor([[0.5, -0.5]])), (torch.tensor([3.0]), torch.tensor([[0.5, -0.4]]))
    assert loss.same(here, here)
    assert not loss.same(here, there)
    with pytest.raises(MiniragError, match="4 passages where 6 are needed"):
        contexts(bert_tokenizer(), PASSAGES, questions=3, k=2)


def test_pq_is_measured_beside_faiss() -> None:
    rows = pq.run(rows=3_000, dim=32, lists=16, probe=16, repeats=1, progress=False)
    assert len(rows) == 6
    assert [row["case"].split(": ")[1] for row in rows[:2]] == ["codes alone, batch 1", "scored again, batch 1"]
    again = rows[-1]
    assert again["equal"] is True
    assert "whose recall@20 is 100.0% where ours is 100.0%" in again["peer_name"]
    assert all(row["ratio"] == row["peer"] / row["ours"] for row in rows)
