"""Splitting: by hand, by property, and against what can be counted in the published file."""

import gzip
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirag.corpus.passages import Article, split_article, split_articles
from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.wikipedia import read_wiki_jsonl

WORD = st.text(alphabet="abcé–,.(\"'", min_size=1, max_size=4)
WORDS = st.lists(WORD, min_size=1, max_size=40)
SPACE = st.sampled_from([" ", "\n\n", "\t", "\u00a0", "  "])


def article(title: str, text: str) -> Article:
    return Article("1", title, text)


def test_hand_case():
    seven = article("A b", "c d\n\ne  f g")
    assert split_article(seven, words=3) == ["A b c", "d e f", "g A b"]
    assert split_article(seven, words=3, tail="keep") == ["A b c", "d e f", "g"]


def test_exactly_full_article_is_not_wrapped():
    assert split_article(article("A", "b c d"), words=2) == ["A b", "c d"]
    assert split_article(article("A", "b c"), words=3) == ["A b c"]


@pytest.mark.parametrize("tail", ["wrap", "keep"])
def test_short_and_empty_articles(tail):
    assert split_article(article("A", "b"), words=5, tail=tail) == ["A b"]
    assert split_article(article("A title", " \n "), words=5, tail=tail) == []


def test_no_words_per_passage_is_refused():
    with pytest.raises(ValueError, match="at least one word"):
        split_article(article("A", "b"), words=0)


@given(WORDS, WORDS, SPACE, st.integers(1, 12))
def test_kept_passages_are_the_articles_words(title, text, space, words):
    passages = split_article(article(" ".join(title), space.join(text)), words, tail="keep")
    assert " ".join(passages).split() == title + text
    assert all(len(passage.split()) == words for passage in passages[:-1])


@given(WORDS, WORDS, st.integers(1, 12))
def test_wrapped_passages_are_full_and_end_with_the_beginning(title, text, words):
    whole = title + text
    passages = [passage.split() for passage in split_article(article(" ".join(title), " ".join(text)), words, tail="wrap")]
    joined = [word for passage in passages for word in passage]
    if len(whole) < words:
        assert joined == whole
    else:
        assert all(len(passage) == words for passage in passages)
        assert joined[: len(whole)] == whole
        assert joined[len(whole) :] == whole[: len(joined) - len(whole)]
        assert len(joined) - len(whole) < words


def test_numbering_runs_on_and_skips_nothing():
    articles = [article("A", "b c d"), article("E", ""), article("F", "g")]
    passages = list(split_articles(iter(articles), words=2))
    assert [(passage.id, passage.title, passage.text) for passage in passages] == [
        ("1", "A", "A b"),
        ("2", "A", "c d"),
        ("3", "F", "F g"),
    ]


@pytest.mark.shared
def test_what_the_module_says_of_the_published_file(shared):
    passages = list(read_passages_tsv(shared / "wikipedia" / "psgs_w100_slice.tsv.gz"))
    lengths = [len(passage.text.split()) for passage in passages]
    assert len(passages) == 9623
    assert lengths.count(100) == 8972
    assert sum(5 <= length < 100 for length in lengths) == 650
    assert max(lengths) == 103

    leads = [passage for passage in passages if passage.text.startswith(passage.title + " ")]
    assert len(leads) == 4040
    assert sum(passage.title.endswith(")") for passage in leads) == 760
    opening = {passage.title: passage.text.split() for passage in leads}
    assert sum(ends_with_opening(p.text.split(), p.title.split(), opening.get(p.title)) for p in passages) == 1116
    assert all(" ".join(passage.text.split()) == passage.text for passage in passages)

    with gzip.open(shared / "wikipedia" / "psgs_w100_slice.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file][1:]
    assert all(text.startswith('"') and text.endswith('"') for _, text, _ in rows)
    assert sum(title.startswith('"') for *_, title in rows) == 4


def ends_with_opening(words: list[str], title: list[str], opening: list[str] | None) -> bool:
    """Whether a passage, not itself the lead, comes round to the title and the words of the lead passage."""
    if opening is None or words[: len(title)] == title:
        return False
    starts = [at for at in range(1, len(words) - len(title) + 1) if words[at : at + len(title)] == title]
    return any(opening[: len(words) - at] == words[at:] for at in starts)


@pytest.mark.shared
def test_our_splitting_rebuilds_published_lead_passages(shared):
    """A full lead passage, split again as an article of its own, is that passage: the title counts among the 100 words."""
    full = [p for p in read_passages_tsv(shared / "wikipedia" / "psgs_w100_slice.tsv.gz") if len(p.text.split()) == 100]
    leads = [passage for passage in full if passage.text.startswith(passage.title + " ")]
    assert len(leads) > 3000
    for lead in leads:
        assert split_article(Article(lead.id, lead.title, lead.text[len(lead.title) :])) == [lead.text]


@pytest.mark.shared
def test_real_articles_become_full_passages(shared):
    short = 0
    for each in islice(read_wiki_jsonl(shared / "wikipedia" / "articles.jsonl.gz"), 40):
        words = each.title.split() + each.text.split()
        wrapped, kept = split_article(each), split_article(each, tail="keep")
        assert " ".join(kept).split() == words
        assert len(wrapped) == len(kept) == -(-len(words) // 100)
        assert len(words) < 100 or {len(passage.split()) for passage in wrapped} == {100}
        short += len(words) < 100
    assert short < 5
