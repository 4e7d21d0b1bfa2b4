"""Things to look at and click on in a notebook: MiniWiki's articles with their passages, facts and questions.

browse(MiniWiki.load())          search titles, choose one, read; needs a live Jupyter
ArticleView(wiki, "Nile")            one article as a picture of itself; stays in the saved notebook
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.dossier import Dossier, dossier
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import normal
from minirag.corpus.miniwiki.graph import fact_id

_STYLE = """<style>
.miniwiki { max-width: 54rem; line-height: 1.5; } .miniwiki h3 { margin: .2rem 0 .5rem; }
.miniwiki blockquote { margin: 0 0 .5rem; padding: .4rem .7rem; border-left: 4px solid #0072B2; }
.miniwiki small { opacity: .7; } .miniwiki summary { cursor: pointer; font-weight: 600; margin: .5rem 0 .2rem; }
.miniwiki table { border-collapse: collapse; }
.miniwiki td, .miniwiki th { text-align: left !important; vertical-align: top; padding: .1rem .7rem .1rem 0 !important; }
</style>"""
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
        f"<blockquote><small>passage {passage.id}</small><br>{html.escape(passage.text)}</blockquote>"
        for passage in found.passages
    )
    facts = [
        (fact.entity.title, fact.relation.label, fact.value.name, _passages_of(wiki, fact_id(fact))) for fact in found.facts
    ]
    examples = [(task, _split(each), each.text, "; ".join(each.answers)) for task, each in found.examples]
    return (
        f'{_STYLE}<div class="miniwiki"><h3>{html.escape(found.page.title)}</h3>{passages}'
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
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{name}</th>" for name in header)
    return f"<details open><summary>{len(rows)} {title}</summary><table><tr>{head}</tr>{cells}</table></details>"
