"""The browser of MiniWiki's articles: what it shows, what clicking does, and that nothing in it is taken for HTML."""

import pytest
from miniwiki_case import FACTS, load
from plain_html import plain

from minirag.corpus.miniwiki import MiniWiki
from minirag.errors import MiniragError
from minirag.teaching.widgets import ArticleView, browse


@pytest.fixture
def lands(tmp_path) -> MiniWiki:
    return load(tmp_path)


def test_an_article_shows_passages_facts_and_questions(lands):
    shown = ArticleView(lands, "Isles of Ys")._repr_html_()
    assert "<small>passage 2</small>" in shown
    assert "<th>Isles of Ys</th><td>capital</td><td>Kêr-Is</td><td>2, 7</td>" in plain(shown)
    assert "<style" not in shown  # which GitHub takes away
    assert (
        "Which country has Kêr-Is as its capital?" in shown
        or "Of what is Kêr-Is the capital?" in shown
        or "does Kêr-Is rule?" in shown
    )
    with pytest.raises(MiniragError, match=r"no article 'Ysa'"):
        ArticleView(lands, "Ysa")


def test_names_are_text_and_not_html(tmp_path):
    shown = ArticleView(load(tmp_path, facts=FACTS.replace("Meru", "<b>Meru</b>")), "Lemuria")._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;Meru&lt;/b&gt;" in shown


def test_searching_and_choosing(lands):
    search, choice, shown = browse(lands).children
    assert choice.value == "Atlantis"
    assert "<h3>Atlantis</h3>" in plain(shown.value)
    search.value = "isles"
    assert choice.options == ("Isles of Ys",)
    assert "<h3>Isles of Ys</h3>" in plain(shown.value)
    search.value = "nothing of the kind"
    assert choice.options == ()
    assert "No title" in shown.value
    search.value = ""
    choice.value = "Lemuria"
    assert "<h3>Lemuria</h3>" in plain(shown.value)
