"""Things to look at and click on in a notebook: MiniWiki's articles with their passages, facts and questions.

browse(MiniWiki.load())          search titles, choose one, read; needs a live Jupyter
ArticleView(wiki, "Nile")            one article as a picture of itself; stays in the saved notebook
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.dossier import Dossier, dossier
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import normal
from minirag.corpus.miniwiki.graph import fact_id
from minirag.corpus.words import escape
from minirag.teaching.plots import BLUE
from minirag.teaching.widgets.view import table

_SHOWN = 50  # titles in the list


@dataclass(frozen=True, repr=False)
class ArticleView:
    """An article of `wiki` by its title, shown with all that belongs to it; MiniragError if there is none."""

    wiki: MiniWiki
    title: str

    def __post_init__(self) -> None:
        dossier(self.wiki, self.title)

    def __repr__(self) -> str:
        return f"ArticleView({self.title!r})"

    def _repr_html_(self) -> str:
        return article_html(self.wiki, dossier(self.wiki, self.title))


def article_html(wiki: MiniWiki, found: Dossier) -> str:
    """An article's passages, facts and examples as HTML, every name escaped."""
    passages = "".join(
        f'<blockquote style="margin:0 0 .5rem;padding:.4rem .7rem;border-left:4px solid {BLUE}">'
        f"<small>passage {passage.id}</small><br>{escape(passage.text)}</blockquote>"
        for passage in found.passages
    )
    facts = [
        (fact.entity.title, fact.relation.label, fact.value.name, _passages_of(wiki, fact_id(fact))) for fact in found.facts
    ]
    examples = [(task, _split(each), each.text, "; ".join(each.answers)) for task, each in found.examples]
    title = f'<h3 style="margin:.2rem 0 .5rem">{escape(found.page.title)}</h3>'
    return (
        f'<div style="max-width:54rem;line-height:1.5">{title}{passages}'
        + _table("facts", ("entity", "relation", "value", "told in passages"), facts)
        + _table("questions, claims and clues", ("task", "split", "text", "answer"), examples)
        + "</div>"
    )


def browse(wiki: MiniWiki) -> Any:
    """A search field, the titles that match, and the article chosen (an `ipywidgets.VBox` of the three)."""
    import ipywidgets

    titles = [page.title for page in wiki.pages]
    search = ipywidgets.Text(placeholder="part of a title", description="Search", continuous_update=True)
    choice = ipywidgets.Select(options=titles[:_SHOWN], rows=6, description="Article")
    shown = ipywidgets.HTML()

    def narrow(change: dict[str, Any]) -> None:
        choice.options = matching(titles, change["new"])

    def show(change: dict[str, Any]) -> None:
        shown.value = article_html(wiki, dossier(wiki, change["new"])) if change["new"] else "<p>No title has these words.</p>"

    search.observe(narrow, names="value")
    choice.observe(show, names="value")
    show({"new": choice.value})
    return ipywidgets.VBox([search, choice, shown])


def matching(titles: Iterable[str], words: str) -> list[str]:
    """The first titles that hold these words, those that begin with them first.

    >>> matching(["Blue Nile", "Nile", "Po"], "nile")
    ['Nile', 'Blue Nile']
    """
    wanted = normal(words)
    found = [title for title in titles if wanted in normal(title)]
    return sorted(found, key=lambda title: not normal(title).startswith(wanted))[:_SHOWN]


def _passages_of(wiki: MiniWiki, id: tuple[str, str, str, str]) -> str:
    return ", ".join(dict.fromkeys(passage for place in wiki.told[id] for passage in place.passages))


def _split(example: Example) -> str:
    marks = [name for name, new in (("new entity", example.new_entity), ("new phrasing", example.new_phrasing)) if new]
    return ", ".join([example.split, *marks])


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = table(header, [list(map(escape, row)) for row in rows])
    summary = f'<summary style="cursor:pointer;font-weight:600;margin:.5rem 0 .2rem">{len(rows)} {title}</summary>'
    return f"<details open>{summary}{cells}</details>"
