"""MiniWiki's text: sentences are English, articles tell what the tables hold, the corpus is as large as promised."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniwiki_case import load

from minirag.corpus.miniwiki import facts_of
from minirag.corpus.miniwiki.english import article_for, fill, listed, with_pronoun
from minirag.corpus.miniwiki.examples import spellings
from minirag.corpus.miniwiki.facts import contains
from minirag.corpus.miniwiki.pages import Draft, Page, Sentence, Subject
from minirag.corpus.miniwiki.values import styles
from minirag.corpus.passages import split_articles

# Sentences


def test_fill_mends_articles_possessives_and_full_stops():
    us = {"entity": "the United States", "value": "Washington, D.C."}
    assert fill("{entity} is governed from {value}.", us) == "The United States is governed from Washington, D.C."
    assert fill("{entity}'s capital is {value}.", us) == "The United States' capital is Washington, D.C."
    assert fill("Is {value} in the {entity}?", us) == "Is Washington, D.C. in the United States?"
    assert fill("It is in present-day {entity}.", us) == "It is in present-day United States."
    assert fill("{entity} is a {value}.", {"entity": "it", "value": "opera"}) == "It is an opera."
    assert fill("An {value} is {entity}.", {"entity": "x", "value": "European novel"}) == "A European novel is x."
    assert fill("{value} is it.", {"value": '"ray"'}) == '"Ray" is it.'
    assert fill("{entity}'s end.", {"entity": "James"}) == "James's end."


@pytest.mark.parametrize(
    ("phrase", "article"),
    [
        ("apple", "an"),
        ("unicorn", "a"),
        ("unusual", "an"),
        ("one-act", "a"),
        ("hour", "an"),
        ("8-bit", "an"),
        ("F major", "an"),
    ],
)
def test_indefinite_article_goes_by_sound(phrase, article):
    assert article_for(phrase) == article


def test_pronouns_only_where_they_fit():
    assert with_pronoun("{entity} is {value}.", "entity", "she") == "She is {value}."
    assert with_pronoun("{entity} and {value} met.", "entity", "she") is None
    assert with_pronoun("{value} is near {entity}.", "entity", "it") is None
    assert with_pronoun("{entity} is {value}.", "entity", "they") is None
    assert with_pronoun("The top of {entity} is {value}.", "entity", "it") == "Its top is {value}."


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=6))
def test_a_list_has_one_and(items):
    text = listed(items)
    assert text.replace(" and ", ", ").split(", ") == items
    assert text.count(" and ") == (len(items) > 1)


def test_values_have_styles():
    assert styles("number", "45") == ("45",)
    assert styles("number", "142984") == ("142984", "142,984")
    assert styles("year", "1789") == ("1789",)
    assert styles("date", "1969-07-21")[2] == "the 21st of July 1969"


# Drafts


BACH = Subject("Johann Sebastian Bach", "he", short="Bach")
NILE = Subject("the Nile", "it", again="the river")


def told(subject: Subject, *templates: str, rival: bool = False, value: str = "x") -> list[str]:
    draft = Draft("d", "D")
    for template in templates:
        draft.tell(template, "entity", subject, {"value": value}, [], rival=rival)
    return [sentence.text for sentence in draft.sentences]


def test_a_name_is_whole_at_first_then_a_pronoun_then_short():
    a, b, c, d = told(
        BACH, "{entity} wrote {value}.", "{entity} played {value}.", "{entity} saw {value}.", "{entity} ate {value}."
    )
    assert a == "Johann Sebastian Bach wrote x."
    assert (b, c) == ("He played x.", "He saw x.")
    assert d == "Bach ate x."  # after two pronouns in a row
    assert told(NILE, "{entity} is {value}.", "Boats sail on {entity} to {value}.")[1] == "Boats sail on the river to x."


def test_no_short_name_where_it_could_mean_another():
    said = told(
        BACH, "{value} taught {entity}.", "The father of {entity} was {value}.", rival=True, value="Johann Ambrosius Bach"
    )
    assert said[1] == "The father of Johann Sebastian Bach was Johann Ambrosius Bach."
    assert told(NILE, "{entity} is {value}.", "A lake named {entity} is {value}.")[1] == "A lake named the Nile is x."
    assert told(NILE, "{value} feeds {entity}.", "Boats sail on {entity}.", rival=True)[1] == "Boats sail on the Nile."


def test_nothing_is_said_twice():
    assert told(Subject("Ys", ""), "{entity} is {value}.", "{entity} is {value}.") == ["Ys is x."]


def test_a_page_knows_where_its_sentences_stand():
    page = Page("p", "Two words", ((Sentence("a " * 97 + "b."), Sentence("One two three four.")), (Sentence("The end."),)))
    assert page.passages_of_sentences() == [range(0, 1), range(1, 2), range(1, 2)]
    assert page.article.text.endswith("One two three four.\n\nThe end.")
    assert page.span(1) == (1, len("a " * 97 + "b.") + 1, len("a " * 97 + "b. One two three four."))
    assert page.span(2) == (2, 0, 8)
    with pytest.raises(IndexError):
        page.span(3)


# Pages


@pytest.fixture(scope="module")
def articles(wiki):
    return wiki.articles


def test_a_small_wiki_by_hand(tmp_path):
    by_id = {article.id: article for article in load(tmp_path).articles}
    assert list(by_id)[:3] == ["lands/atlantis", "lands/isles-of-ys", "lands/lemuria"]
    assert list(by_id)[6:] == ["lands-overviews/capitals"]
    capitals = by_id["lands-overviews/capitals"].text
    assert capitals.startswith("Every country has a capital. ")
    sentences = {
        ("Atlantis has Poseidonia.", "In Atlantis it is Poseidonia.", "Poseidonia is that of Atlantis."),
        ("The Isles of Ys has Kêr-Is.", "In the Isles of Ys it is Kêr-Is.", "Kêr-Is is that of the Isles of Ys."),
        ("Lemuria has Meru.", "In Lemuria it is Meru.", "Meru is that of Lemuria."),
        ("Avalon has Camelot.", "In Avalon it is Camelot.", "Camelot is that of Avalon."),
    }
    for forms in sentences:
        assert sum(form in capitals for form in forms) == 1
    assert contains(by_id["lands/isles-of-ys"].text, "Breton and Punic")
    assert contains(by_id["lands/lemuria"].text, "9800") or contains(by_id["lands/lemuria"].text, "9,800")
    assert "Camelot" in by_id["lands/isles-of-ys"].text  # as a comparison


def test_titles_and_ids_are_unique_and_namesakes_told_apart(articles):
    assert [key for key, times in Counter(article.id for article in articles).items() if times > 1] == []
    assert [title for title, times in Counter(article.title for article in articles).items() if times > 1] == []
    titles = {article.title for article in articles}
    assert {"Mercury (planet)", "Mercury (chemical element)"} <= titles


def test_the_text_is_clean_english(articles):
    wrong = re.compile(
        r"[{}]|  |\.\.|\b(the the|a a|an an|a the|an the|the a)\b| [,;]| \.(?= )|\ba (?!eu|ewe|one)[aei][a-z]{3,}"
        r"|\b(the (river|mountain|element|battle|film|country|painting|language|animal)) \2\b|, ,|\?\?|\bis is\b|\bwas was\b"
    )
    for article in articles:
        found = wrong.search(article.text.replace("\n\n", " "))
        assert not found, f"{article.id}: …{article.text[max(0, found.start() - 40) : found.end() + 30]}…"
        assert re.match(r"[A-Z0-9À-Þ\"'.]", article.text), article.id
        assert article.text.endswith((".", '."', "!", "?", "'")), article.id


def test_no_article_says_the_same_twice(wiki):
    for page in wiki.pages:
        texts = [sentence.text for sentence in page.sentences]
        assert len(texts) == len(set(texts)), page.id


def test_the_text_is_varied(wiki):
    """Pronouns, short names, joined sentences, numbers and dates in several styles, six phrasings of every relation."""
    text = " ".join(article.text for article in wiki.articles)
    for sample in (
        " It ",
        " He ",
        " She ",
        "His ",
        "Its ",
        "The river",
        "Darwin ",
        "8,849",
        "8849",
        " BCE",
        " BC",
        "By comparison",
    ):
        assert sample in text, sample
    for domain in wiki.domains:
        for relation in domain.phrasings.relations.values():
            assert len(set(relation.statements)) >= 6
    several = [
        sentence for page in wiki.pages for sentence in page.sentences if len({f.relation.name for f in sentence.facts}) > 1
    ]
    assert len(several) > 2000


def test_the_corpus_is_as_large_as_promised(wiki):
    assert len(wiki.domains) >= 15
    assert sum(len(domain.entities) for domain in wiki.domains) >= 1_200
    assert sum(1 for _ in facts_of(wiki.domains)) >= 8_000
    assert 1_500 <= len(wiki.passages) <= 4_000


def test_facts_are_told_from_several_places(wiki):
    facts = list(facts_of(wiki.domains))
    places = [wiki.told[fact.domain.name, fact.entity.title, fact.relation.name, fact.value.name] for fact in facts]
    assert all(places)
    pages = [{place.page.id for place in each} for each in places]
    assert sum(len(each) >= 2 for each in pages) >= 0.65 * len(facts)  # from both sides, in overviews, as comparisons


def test_every_sentence_tells_its_facts(wiki):
    """In words: the value, or for a fact told of its value the entity, stands in the sentence in some spelling."""
    links, checked = wiki.links, 0
    for page in wiki.pages:
        for sentence in page.sentences:
            for fact in sentence.facts:
                names = (*spellings(fact, links), fact.entity.name, *fact.entity.aliases)
                assert any(contains(sentence.text, name) for name in names), (page.id, sentence.text, fact.value.name)
                checked += 1
    assert checked > 20_000


def test_passage_ids_agree_with_the_splitter(wiki):
    assert [passage.id for passage in wiki.passages] == list(wiki.page_of_passage)
    titles = {page.id: page.title for page in wiki.pages}
    assert all(titles[wiki.page_of_passage[passage.id]] == passage.title for passage in wiki.passages)
    for page in wiki.pages:
        assert page.passages() == [passage.text for passage in split_articles([page.article])]
