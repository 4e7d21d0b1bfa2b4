"""Everything on one article: its text, its passages, the facts that it tells, and what is asked of them."""

import difflib
from dataclasses import dataclass
from typing import Any

from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import Fact, normal
from minirag.corpus.miniwiki.graph import FactId, fact_id
from minirag.corpus.miniwiki.on_prose import PROSE, on_prose
from minirag.corpus.miniwiki.pages import Page, prose_id
from minirag.corpus.miniwiki.wiki import MiniWiki
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError


@dataclass(frozen=True)
class Dossier:
    """An article with what belongs to it; each example with its task."""

    page: Page
    passages: tuple[Passage, ...]
    facts: tuple[Fact, ...]
    examples: tuple[tuple[str, Example], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.page.id,
            "title": self.page.title,
            "passages": [{"id": passage.id, "text": passage.text} for passage in self.passages],
            "facts": [fact_id(fact) for fact in self.facts],
            "examples": [
                {"task": task, "split": each.split, "text": each.text, "answers": each.answers} for task, each in self.examples
            ],
        }

    def as_text(self) -> str:
        """For a terminal."""
        lines = [self.page.title, ""]
        lines += [f"[{passage.id}] {passage.text}" for passage in self.passages]
        lines += ["", "facts"]
        lines += [f"  {fact.entity.title} — {fact.relation.label} — {fact.value.name}" for fact in self.facts]
        lines += ["", "examples"]
        lines += [f"  {task}, {each.split}: {each.text} → {each.answers[0]}" for task, each in self.examples]
        return "\n".join(lines)


def dossier(wiki: MiniWiki, title: str) -> Dossier:
    """Everything on the article of this title or id; a `MiniragError` suggests similar titles if there is none."""
    page = find(wiki, title)
    first = next(place for place, passage in enumerate(wiki.passages) if wiki.page_of_passage[passage.id] == page.id)
    passages = tuple(wiki.passages[first : first + len(page.passages())])
    facts = {fact_id(fact): fact for sentence in page.sentences for fact in sentence.facts}
    articles = [article for article in wiki.prose if prose_id(article) == page.id]
    written = {each.id for article in articles for made in on_prose(article).values() for each in made}
    examples = (
        (task, each) for task, made in wiki.examples.items() for each in made if each.id in written or _is_on(each, page, facts)
    )
    return Dossier(page, passages, tuple(facts.values()), tuple(examples))


def find(wiki: MiniWiki, title: str) -> Page:
    """The page of this title or id, whatever its case."""
    by_name = {normal(page.title): page for page in reversed(wiki.pages)}
    page = by_name.get(normal(title)) or next((page for page in wiki.pages if page.id == title), None)
    if page is None:
        near = difflib.get_close_matches(normal(title), by_name, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(by_name[name].title for name in near)}?" if near else "see `minirag miniwiki --stats`"
        raise MiniragError(f"MiniWiki has no article {title!r}; {hint}")
    return page


def _is_on(example: Example, page: Page, facts: dict[FactId, Fact]) -> bool:
    """Whether the example is about the page's own entity, and the page tells what it rests on."""
    own = page.title == example.entity or page.title.startswith(f"{example.entity} (")
    return own and example.split != PROSE and all(fact_id(fact) in facts for fact in example.told)
