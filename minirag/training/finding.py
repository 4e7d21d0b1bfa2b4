"""What the bi-encoder learns from: questions with passages that answer them, of MiniWiki and of worlds that are not true.

Half of the batches are of one domain: whoever is to find a river among rivers has to read what is said of it. And half are of
worlds (`worlds.py`), in which the same titles have other facts: there is nothing to remember, only words to be found again.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.graph import Place
from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.miniwiki.worlds import Tellable, World, Worlds
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.training.dpr import Pair
from minirag.training.draws import chance_of
from minirag.training.pretrain import inverse_cloze

QUESTIONS = ("nq", "triviaqa", "webquestions", "curatedtrec")  # the tasks whose answers are a few words


@dataclass(frozen=True)
class Told:
    """A question with the ids of the passages that tell its answer (`right`); training takes the first four (`told`)."""

    question: str
    told: tuple[str, ...]
    right: frozenset[str]


@dataclass(frozen=True)
class Shelf:
    """An encyclopedia to ask about: its passages, and by domain the questions and the passages of that domain's articles."""

    passages: Sequence[Passage]
    asked: dict[str, list[Told]]
    articles: dict[str, list[Passage]]

    @classmethod
    def of(cls, wiki: MiniWiki, asked: Iterable[tuple[str, Told]]) -> Shelf:
        """`asked`: domains' names with a question each; those without a passage are left out."""
        known, articles = defaultdict[str, list[Told]](list), defaultdict[str, list[Passage]](list)
        for domain, one in asked:
            if one.right:
                known[domain].append(one)
        domain_of = {entity.title: domain.name for domain in wiki.domains for entity in domain.entities}
        for passage in wiki.passages:
            articles[domain_of.get(passage.title, "")].append(passage)  # "" is prose
        return cls(wiki.passages, dict(known), dict(articles))

    def domains(self, chance: random.Random, count: int) -> list[str]:
        """Some of the domains by lot, those with many questions more often, but not as often as they have more."""
        names = list(self.asked)
        return chance.choices(names, [len(self.asked[name]) ** 0.7 for name in names], k=count)

    def passage(self, id: str) -> Passage:
        return self.passages[int(id) - 1]


class Finding(Worlds):
    """Draws pairs of a question and a passage that answers it; `untrue` of the batches are of worlds, `alike` of one domain.

    For the share `fragments` the question is a sentence's words, some of them missing, often with the title before it: so also
    a title that no training question names is learnt to be found. Three batches of four are of short pieces of the passages,
    which is faster.
    """

    def __init__(
        self,
        wiki: MiniWiki,
        batch: int,
        seed: int = 0,
        renewed: int = 200,
        fragments: float = 0.2,
        untrue: float = 0.5,
        alike: float = 0.5,
    ) -> None:
        super().__init__(Tellable.of(wiki), seed, renewed)
        self.batch, self.fragments, self.untrue, self.alike = batch, fragments, untrue, alike
        self.own = Shelf.of(wiki, ((one.domain, told(one, wiki.all_places_of(one))) for one in examples_of(wiki, "train")))
        if not self.own.asked:
            raise MiniragError("no training question has a passage that tells its answer; give a MiniWiki with more facts")
        self._shelves: dict[int, Shelf] = {}  # of the world at hand

    def __call__(self, step: int) -> list[Pair]:
        chance = chance_of(self.seed, "finding", step)
        shelf = self._untrue(step) if chance.random() < self.untrue else self.own
        alike = chance.random() < self.alike
        domains = shelf.domains(chance, 1) * self.batch if alike else shelf.domains(chance, self.batch)
        pairs = [
            _fragment(shelf.articles[domain] if alike else shelf.passages, chance)
            if chance.random() < self.fragments
            else _question(shelf, domain, chance)
            for domain in domains
        ]
        return pairs if step % 4 == 3 else [replace(pair, positive=_piece(pair.positive, chance)) for pair in pairs]

    def _untrue(self, step: int) -> Shelf:
        number, world = step // self.renewed, self.world(step)
        if number not in self._shelves:
            self._shelves.clear()
            self._shelves[number] = _shelf_of(world)
        return self._shelves[number]


def examples_of(wiki: MiniWiki, split: str) -> list[Example]:
    """The examples of a split over the four tasks, as far as the wiki has any."""
    return [example for task in QUESTIONS for example in wiki.by_split(task).get(split, [])]


def told(example: Example, places: Iterable[Place]) -> Told:
    """A question with the passages of the places that tell its answer."""
    ids = tuple(dict.fromkeys(id for place in places for id in place.passages))
    return Told(example.text, ids[:4], frozenset(ids))


def _shelf_of(world: World) -> Shelf:
    return Shelf.of(world.wiki, ((one.domain, told(one, world.places(one))) for one in world.examples))


def _question(shelf: Shelf, domain: str, chance: random.Random) -> Pair:
    one = chance.choice(shelf.asked[domain])
    return Pair(one.question, shelf.passage(chance.choice(one.told)), (), one.right)


def _fragment(passages: Sequence[Passage], chance: random.Random) -> Pair:
    pair = inverse_cloze(chance.choice(passages), chance)
    kept = chance.choice((1.0, 0.7, 0.4))
    words = [word for word in pair.question.split() if chance.random() < kept] or pair.question.split()
    title = [pair.positive.title] if chance.random() < 0.6 else []
    return replace(pair, question=" ".join(title + words))


def _piece(passage: Passage, chance: random.Random) -> Passage:
    """A few sentences in a row."""
    parts = sentences(passage.text)
    first = chance.randrange(len(parts))
    return replace(passage, text=" ".join(parts[max(first - 1, 0) : first + 3]))
