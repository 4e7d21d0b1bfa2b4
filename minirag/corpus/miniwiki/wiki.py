"""MiniWiki as a whole: everything that is made from the tables and the prose, each made once, when it is first asked for."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

from minirag.corpus.miniwiki import claims, clues, questions
from minirag.corpus.miniwiki.articles import Renderer
from minirag.corpus.miniwiki.english import fill, number_of
from minirag.corpus.miniwiki.examples import Example, marked, phrasing
from minirag.corpus.miniwiki.facts import Domain, Links, contains, load_domains, normal
from minirag.corpus.miniwiki.graph import FactId, Place, Triple, fact_id, places, triples
from minirag.corpus.miniwiki.on_prose import PROSE, on_prose
from minirag.corpus.miniwiki.pages import Page, passage_numbers, prose_page
from minirag.corpus.miniwiki.prose import ProseArticle, ProseQuestion, load_prose
from minirag.corpus.miniwiki.snapshots import Office, load_offices
from minirag.corpus.miniwiki.splits import SPLITS, FactKey, Splits, pair
from minirag.corpus.miniwiki.telling import Teller
from minirag.corpus.passages import Article, Passage, split_articles
from minirag.paths import data_dir

TASKS = ("nq", "triviaqa", "webquestions", "curatedtrec", "msmarco", "jeopardy", "fever")
_FULL_ANSWERS = {"train": 3000, "dev": 400, "test": 800}


class MiniWiki:
    """The embedded encyclopedia: pages, the facts in them, and examples for the seven tasks.

    >>> wiki = MiniWiki.load()
    >>> wiki.page("rivers/nile").title
    'Nile'
    """

    def __init__(self, domains: list[Domain], prose: list[ProseArticle], offices: list[Office]) -> None:
        """`domains` as they are in the tables; what is withheld from the articles is taken out here."""
        self.domains, self.withheld = claims.withhold(domains, Links(domains))
        self.prose, self.offices = prose, offices
        self.links = Links(self.domains)

    @classmethod
    def load(cls, folder: Path | str | None = None) -> "MiniWiki":
        """What lies under `folder`: facts/, phrasings/, and where there are any prose/ and snapshots/ (default: what ships).

        What ships is read once: a process has one such MiniWiki, and what was made of it is not made again.
        """
        if folder is None:
            return _shipped(data_dir() / "miniwiki")
        folder = Path(folder)
        return cls(load_domains(folder), load_prose(folder / "prose"), load_offices(folder / "snapshots"))

    @cached_property
    def pages(self) -> list[Page]:
        """All pages: entities, overviews, values of which much is told, prose."""
        return [*Renderer(self.domains).pages(), *map(prose_page, self.prose)]

    @cached_property
    def articles(self) -> list[Article]:
        """The pages as plain text."""
        return [page.article for page in self.pages]

    @cached_property
    def passages(self) -> list[Passage]:
        """The passages of 100 words, with their ids."""
        return list(split_articles(self.articles))

    def page(self, id: str) -> Page:
        """The page of this id; KeyError if there is none."""
        return self._by_id[id]

    @cached_property
    def _by_id(self) -> Mapping[str, Page]:
        return {page.id: page for page in self.pages}

    @cached_property
    def told(self) -> dict[FactId, list[Place]]:
        """Where each fact is told."""
        return places(self.pages, self.links)

    @cached_property
    def triples(self) -> list[Triple]:
        """The facts as a knowledge graph."""
        return triples(self.domains, self.links, self.told)

    @cached_property
    def _asked(self) -> list[questions.Asked]:
        return questions.askable(self.domains, self.links)

    @cached_property
    def splits(self) -> Splits:
        """Which facts are for training; those that the prose asks for are for test."""
        return Splits(self.domains, self.links, questions.tied_by_words(self._asked), self._asked_in_prose())

    @cached_property
    def examples(self) -> dict[str, list[Example]]:
        """The examples on facts, by task, each marked with how new it is. The questions of all sets differ."""
        asked = questions.questions(self._asked, self.splits)
        by_task: dict[str, list[Example]] = {task: [] for task in TASKS}
        for question in asked:
            by_task[questions.published_set(question, self.links)].append(question)
        by_task["triviaqa"] = clues.trivia(self.domains, self.links, self.splits)
        by_task["jeopardy"] = clues.jeopardy(self.domains, self.links, self.splits)
        by_task["fever"] = claims.claims(self.domains, self.links, self.splits, self.withheld)
        by_task["msmarco"] = self._full_answers(asked)
        for article in self.prose:
            for task, made in on_prose(article).items():
                by_task[task] += made
        trained = [example for made in by_task.values() for example in made if example.split == "train"]
        return {task: marked(made, trained) for task, made in by_task.items()}

    def by_split(self, task: str) -> dict[str, list[Example]]:
        """The examples of a task in train, dev and test; and in "prose", a test set, for the tasks that have one."""
        groups: dict[str, list[Example]] = {}
        for example in self.examples[task]:
            groups.setdefault(example.split, []).append(example)
        return {split: groups[split] for split in (*SPLITS, PROSE) if split in groups}

    def places_of(self, example: Example) -> list[Place]:
        """Where the facts of an example are told: of each the first place that no passage's end cuts, mostly on the entity's
        own page."""
        first = (min(self.told[fact_id(fact)], key=lambda place: len(place.passages)) for fact in example.told)
        return [*self._prose_places(example), *first]

    def all_places_of(self, example: Example) -> list[Place]:
        """Every place that tells a fact of the example."""
        return [*self._prose_places(example), *(place for fact in example.told for place in self.told[fact_id(fact)])]

    def evidence_of(self, example: Example) -> list[Place]:
        """The places whose sentence tells a fact of the example by itself: for a claim each of them is evidence enough."""
        return [place for place in self.all_places_of(example) if place.clear]

    def _prose_places(self, example: Example) -> list[Place]:
        return [self._prose_place(page, sentence) for page, sentence in example.evidence]

    def _prose_place(self, page_id: str, sentence: int) -> Place:
        page = self.page(page_id)
        rows = page.passages_of_sentences()[sentence]
        return Place(page, sentence, tuple(str(self._first_passage[page_id] + row) for row in rows))

    @cached_property
    def _first_passage(self) -> dict[str, int]:
        return {page.id: number for page, number in passage_numbers(self.pages)}

    @cached_property
    def page_of_passage(self) -> dict[str, str]:
        """For each passage's id its page's."""
        return {str(first + i): page.id for page, first in passage_numbers(self.pages) for i in range(len(page.passages()))}

    def _full_answers(self, asked: list[Example]) -> list[Example]:
        """Questions with an answer in a whole sentence, by lot from those with one answer."""
        made: list[Example] = []
        teller = Teller(self.links)
        for split, most in _FULL_ANSWERS.items():
            single = [q for q in asked if q.split == split and len(q.told) == 1 and not q.inverse]
            single.sort(key=lambda question: number_of("full answer", question.id))
            for question in single[:most]:
                fact = question.told[0]
                template, _ = phrasing(fact.relation.statements, "train", "full answer", question.id)
                told = teller.told(fact.domain, fact.entity, fact.relation.name, template, 0)
                sentence = fill(template, {"entity": fact.entity.phrase, "value": told})
                id = f"{number_of('full answer', question.text):016x}"
                made.append(replace(question, id=id, sentence=sentence))
        return made

    def _asked_in_prose(self) -> set[FactKey]:
        """The facts of the tables for which a question on prose asks, too."""
        by_answer: dict[str, list[FactKey]] = {}
        for key in {key for each in self._asked for key in each.keys}:
            for one, other in (key, key[::-1]):
                by_answer.setdefault(one, []).append((one, other))
        found: set[FactKey] = set()
        for article in self.prose:
            for question in (*article.questions, _named(article)):
                for answer in question.answers:
                    for _, other in by_answer.get(normal(answer), ()):
                        if contains(f"{question.question} {article.title}", other):
                            found.add(pair(answer, other))
        return found


def _named(article: ProseArticle) -> ProseQuestion:
    return ProseQuestion(article.clue.clue, (article.clue.answer,))


@cache
def _shipped(folder: Path) -> MiniWiki:
    return MiniWiki.load(folder)
