"""Worlds that are not true: what they are made of, that their pages tell them, and that they ask nothing that is held out."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from miniwiki_case import load, many_lands

from minirag.corpus.miniwiki import Domain, MiniWiki, Value, facts_of, load_domains
from minirag.corpus.miniwiki.examples import Example, spellings
from minirag.corpus.miniwiki.facts import contains, has_intro, normal
from minirag.corpus.miniwiki.graph import fact_id
from minirag.corpus.miniwiki.phrasings import Phrasings
from minirag.corpus.miniwiki.splits import fact_key
from minirag.corpus.miniwiki.worlds import EVERYTHING, Tellable, World, _exchanged, _reordered
from minirag.tasks.metrics import has_answer


@pytest.fixture(scope="module")
def worlds(tellable: Tellable) -> list[World]:
    return [World(tellable, f"seed {number}") for number in range(6)]


@pytest.fixture(scope="module")
def shipped() -> MiniWiki:
    """A part of the shipped wiki: places that name each other."""
    return MiniWiki([domain for domain in load_domains() if domain.name in ("cities", "mountains", "rivers")], [], [])


def check_nothing_held_out_is_told(wiki: MiniWiki, tellable: Tellable) -> None:
    kept, titles = wiki.splits.kept_apart, set()
    told = {fact_key(fact, wiki.links) for fact in facts_of(tellable.domains)}
    for domain in tellable.domains:
        for entity in domain.entities:
            titles.add(normal(entity.title))
            assert normal(entity.title) not in kept
    assert {wiki.splits.of(key) for key in told} == {"train"}
    assert told.isdisjoint(tellable.facts)
    assert not {name for key in told for name in key} & kept.keys()
    everything = {fact_key(fact, wiki.links) for fact in facts_of(wiki.domains)}
    assert tellable.facts == {key for key in everything if wiki.splits.of(key) != "train"}
    assert titles == {normal(entity.title) for domain in wiki.domains for entity in domain.entities} - kept.keys()
    # A cell is dropped whole if one of its values is held out, and else there as it was.
    for before, after in zip(wiki.domains, tellable.domains, strict=True):
        cells = {entity.title: entity.cells for entity in before.entities}
        assert all(cells[entity.title][name] == cell for entity in after.entities for name, cell in entity.cells.items())


def check_nothing_held_out_is_asked(wiki: MiniWiki, world: World) -> None:
    held = {example.text for made in wiki.examples.values() for example in made if example.split != "train"}
    facts = {key for made in wiki.examples.values() for example in made if example.split != "train" for key in example.facts}
    phrasings = {domain.name: domain.phrasings for domain in wiki.domains}
    for example in world.examples:
        assert example.split == "train"
        assert example.text not in held
        assert facts.isdisjoint(example.facts)
        # By the true wiki's names, too.
        assert facts.isdisjoint(fact_key(fact, wiki.links) for fact in example.told)
        assert not example.new_phrasing
        if len(example.relations) == 1:  # no quiz question
            relation = phrasings[example.domain].relations[example.relations[0]]
            kept = (relation.inverse_questions if example.inverse else relation.questions)[-1]
            assert not like(kept).fullmatch(example.text), example


def like(template: str) -> re.Pattern[str]:
    """What a template looks like when it is filled."""
    return re.compile(re.sub(r"\\\{(entity|value)\\\}", "(.+)", re.escape(template)), re.IGNORECASE)


def unasked(phrasings: Phrasings) -> list[re.Pattern[str]]:
    """What the questions look like that are kept from training."""
    relations = phrasings.relations.values()
    lasts = [(*relation.questions[-1:], *relation.inverse_questions[-1:]) for relation in relations]
    return [like(template) for each in lasts for template in each]


def untold(world: World, examples: list[Example]) -> tuple[int, int]:
    """How many of the passages that are to tell an example do not hold an answer, and of how many; nothing else may lack one.

    A sentence that the end of a passage cuts may have left its answer behind or ahead; and on the page of the answer itself
    a sentence may call it by a pronoun.
    """
    lacking = total = 0
    for example in examples:
        places = world.places(example)
        assert places, example
        for place in places:
            sentence = place.page.sentences[place.sentence].text
            texts = [world.wiki.passages[int(id) - 1].text for id in place.passages]
            holding = [has_answer(text, example.answers) for text in texts]
            total += len(texts)
            if not all(holding):
                spans = place.page.passages_of_sentences()[place.sentence]
                called = not has_answer(sentence, example.answers) and has_answer(place.page.title, example.answers)
                assert len(spans) > 1 or called, (example, texts)
                lacking += holding.count(False)
    return lacking, total


# What worlds are made of


def test_no_held_out_fact_and_no_entity_kept_apart_is_tellable(lands: MiniWiki, tellable: Tellable) -> None:
    assert lands.splits.kept_apart
    assert len(tellable.facts) > 5
    assert len(list(facts_of(tellable.domains))) > 30
    check_nothing_held_out_is_told(lands, tellable)


def test_held_out_texts_are_those_of_every_task(lands: MiniWiki, tellable: Tellable) -> None:
    for made in lands.examples.values():
        for example in made:
            assert (example.text in tellable.texts) == (example.split != "train"), example


def check_shipped(wiki: MiniWiki, questions: int) -> None:
    tellable = Tellable.of(wiki)
    check_nothing_held_out_is_told(wiki, tellable)
    world = World(tellable, "0")
    assert len(world.examples) > questions
    check_nothing_held_out_is_asked(wiki, world)
    kept = wiki.splits.kept_apart
    assert not [entity for domain in world.wiki.domains for entity in domain.entities if normal(entity.title) in kept]
    lacking, total = untold(world, random.Random(0).sample(world.examples, 600))
    assert lacking < 0.03 * total


def test_shipped_dev_and_test_sets_are_kept_apart(shipped: MiniWiki) -> None:
    check_shipped(shipped, 1_500)


@pytest.mark.slow
def test_all_shipped_dev_and_test_sets_are_kept_apart(wiki: MiniWiki) -> None:
    check_shipped(wiki, 20_000)


# What a world is


def test_a_seed_gives_one_world_and_another_seed_another(tellable: Tellable, worlds: list[World]) -> None:
    again = World(tellable, "seed 0")
    assert again.wiki.passages == worlds[0].wiki.passages
    assert again.examples == worlds[0].examples
    for one, other in pairwise(worlds):
        assert one.wiki.passages != other.wiki.passages
        assert {example.text: example.answers for example in one.examples} != {
            example.text: example.answers for example in other.examples
        }


def test_true_tables_stay_as_they_are(lands: MiniWiki, tellable: Tellable) -> None:
    before = [(entity.title, dict(entity.cells)) for domain in tellable.domains for entity in domain.entities]
    World(tellable, "another").wiki.passages  # noqa: B018
    assert [(entity.title, entity.cells) for domain in tellable.domains for entity in domain.entities] == before


def cells(domain: Domain) -> dict[str, Counter[tuple[Value, ...]]]:
    found: dict[str, Counter[tuple[Value, ...]]] = {name: Counter() for name in domain.phrasings.relations}
    for entity in domain.entities:
        for name, values in entity.cells.items():
            found[name][values] += 1
    return found


@pytest.mark.parametrize("seed", range(8))
def test_columns_are_dealt_anew(tellable: Tellable, seed: int) -> None:
    """No land's name stands in a value, and every land has an intro without facts, so that nothing is dropped here."""
    (domain,) = tellable.domains
    dealt = _exchanged(domain, random.Random(seed))
    assert cells(dealt) == cells(domain)
    before = {entity.title: entity for entity in domain.entities}
    assert {entity.title for entity in dealt.entities} == before.keys()
    for entity in dealt.entities:
        assert entity.cells.keys() == before[entity.title].cells.keys()
        assert (entity.aliases, entity.pronoun) == (before[entity.title].aliases, before[entity.title].pronoun)
    moved = [
        entity.cells["capital"] != before[entity.title].cells["capital"]
        for entity in dealt.entities
        if "capital" in entity.cells
    ]
    assert sum(moved) > len(moved) / 2
    assert [entity.title for entity in dealt.entities] != list(before)


def test_what_worlds_drop(tmp_path: Path) -> None:
    """A value that holds the entity's name or stands in it, and an entity of which nothing can be said to begin with."""
    facts = "entity,aliases,pronoun,the,capital,language,founded,people\n"
    facts += "Oman,,it,,Oman City,Punic,,\nUlm,,it,,Lower Ulm,,,\nBrux,,it,,Brux Hill,,,\n"
    (domain,) = load(tmp_path, facts=facts).domains
    dropped = 0
    for seed in range(30):
        dealt = _exchanged(domain, random.Random(seed))
        for entity in dealt.entities:
            for values in entity.cells.values():
                for value in values:
                    assert not contains(value.name, entity.name)
                    assert not contains(entity.title, value.name)
        found = cells(dealt)["capital"]
        assert found <= cells(domain)["capital"]
        dropped += 3 - found.total()
    assert dropped > 10


def test_entities_without_an_intro_are_left_out_of_the_world(shipped: MiniWiki) -> None:
    """Held-out cells are gone, and what is left may be too little to begin an article with."""
    dropped = 0
    for domain in Tellable.of(shipped).domains:
        dealt = _exchanged(domain, random.Random(0))
        lacking = {entity.title for entity in domain.entities if not has_intro(domain.phrasings, entity.cells)}
        assert lacking.isdisjoint(entity.title for entity in dealt.entities)
        assert all(has_intro(dealt.phrasings, entity.cells) for entity in dealt.entities)
        for name, column in cells(dealt).items():
            assert column <= cells(domain)[name]
        dropped += len(lacking)
    assert dropped > 10


# Phrasings


def test_phrasings_come_in_another_order_and_the_last_question_stays(lands: MiniWiki) -> None:
    phrasings = lands.domains[0].phrasings
    orders = set()
    for seed in range(10):
        mixed = _reordered(phrasings, random.Random(seed))
        assert sorted(mixed.intro) == sorted(phrasings.intro)
        assert sorted(mixed.together) == sorted(phrasings.together)
        assert (mixed.kind, mixed.plural, mixed.short, mixed.overviews) == (
            phrasings.kind, phrasings.plural, phrasings.short, phrasings.overviews,
        )  # fmt: skip
        assert mixed.relations.keys() == phrasings.relations.keys()
        for name, relation in mixed.relations.items():
            before = phrasings.relations[name]
            for sort in ("statements", "many", "inverse"):
                assert sorted(getattr(relation, sort)) == sorted(getattr(before, sort))
            for sort in ("questions", "inverse_questions"):  # of those that only worlds ask, too
                assert sorted(getattr(relation, sort)) == sorted(getattr(before, sort) + getattr(before, f"more_{sort}"))
            assert relation.questions[-1] == before.questions[-1]
            assert relation.inverse_questions[-1:] == before.inverse_questions[-1:]
        orders.add(tuple(mixed.relations["capital"].statements + mixed.relations["capital"].questions))
    assert len(orders) == 10
    assert phrasings.relations["people"].inverse_questions == ()  # some relations are asked in one direction only


def test_worlds_ask_what_no_data_set_asks(wiki: MiniWiki, lands: MiniWiki) -> None:
    """The further questions are asked in worlds, all of them, and by no example of any task."""
    (domain,) = lands.domains
    more = [like(template) for template in domain.phrasings.relations["capital"].more_questions]
    asked = [example.text for seed in range(6) for example in World(Tellable.of(lands), str(seed)).examples]
    assert all(any(pattern.fullmatch(text) for text in asked) for pattern in more)
    assert not any(pattern.fullmatch(one.text) for pattern in more for made in lands.examples.values() for one in made)

    nowhere = {text for made in wiki.examples.values() for text in (example.text for example in made)}
    some = [example for example in World(Tellable.of(wiki), "0").examples if len(example.relations) == 1]
    assert sum(example.text in nowhere for example in some) < len(some) / 2  # the same words may come about by chance


def test_statements_and_questions_vary_between_worlds(worlds: list[World]) -> None:
    """The same slot of the same entity is told and asked in other words, not only with another value."""

    def frames(world: World) -> dict[str, str]:
        """For each land how its capital is asked for."""
        return {
            example.entity: example.text.replace(example.entity, "{}").replace("Ys", "{}")
            for example in world.examples
            if example.relations == ("capital",) and not example.inverse
        }

    def sentences(world: World) -> set[str]:
        """All sentences that tell one capital, without land and capital."""
        found = set()
        for fact in facts_of(world.wiki.domains):
            if fact.relation.name == "capital":
                for place in world.wiki.told[fact_id(fact)]:
                    text = place.page.sentences[place.sentence].text
                    found.add(text.replace(fact.entity.name, "{entity}").replace(fact.value.name, "{value}"))
        return found

    asked = [frames(world) for world in worlds]
    shared = [(one[entity], other[entity]) for one, other in pairwise(asked) for entity in one.keys() & other.keys()]
    assert len(shared) > 3  # the others have another name
    assert sum(one != other for one, other in shared) > len(shared) / 2
    assert len({frozenset(sentences(world)) for world in worlds}) == len(worlds)


def test_questions_kept_from_training_are_not_asked(lands: MiniWiki, worlds: list[World]) -> None:
    kept = unasked(lands.domains[0].phrasings)
    assert any(pattern.fullmatch("Where do the rulers of Atlantis sit?") for pattern in kept)
    texts = {example.text for world in worlds for example in world.examples}
    assert not [text for text in texts for pattern in kept if pattern.fullmatch(text)]
    assert not any(text.startswith("Name the country that ") for text in texts)  # the quiz's last frame
    held = [example.text for made in lands.examples.values() for example in made if example.new_phrasing]
    assert any(pattern.fullmatch(text) for text in held for pattern in kept)  # they are asked elsewhere


# Examples


def test_nothing_held_out_is_asked(lands: MiniWiki, worlds: list[World]) -> None:
    for world in worlds:
        assert len(world.examples) > 20
        check_nothing_held_out_is_asked(lands, world)


def test_a_held_out_fact_that_comes_about_by_chance_is_told_but_not_asked(tmp_path: Path) -> None:
    """Languages are few: now and then a land gets one that it has in truth, in a fact that is held out."""
    lands = many_lands(tmp_path)
    true = Tellable.of(lands)
    (land,) = [entity for entity in lands.domains[0].entities if entity.title == "Abar"]
    every = {fact_key(fact, lands.links) for fact in facts_of(lands.domains) if fact.entity == land}
    held = Tellable(true.domains, true.facts | every, true.texts)
    told = asked = without = 0
    for seed in range(30):
        world = World(held, str(seed))
        keys = {fact_key(fact, world.wiki.links) for fact in facts_of(world.wiki.domains)}
        told += bool(keys & every)
        asked += sum(bool(set(example.facts) & every) for example in world.examples)
        without += sum(bool(set(example.facts) & every) for example in World(true, str(seed)).examples)
    assert told > 3
    assert without > 3
    assert asked == 0


def test_every_question_is_told_by_its_places(worlds: list[World]) -> None:
    for world in worlds:
        lacking, total = untold(world, world.examples)
        assert total > 30
        assert lacking <= 0.05 * total


def test_answers_are_those_of_the_world_and_mostly_not_the_true_ones(lands: MiniWiki, worlds: list[World]) -> None:
    true = {(fact.entity.title, fact.relation.name, fact.value.name) for fact in facts_of(lands.domains)}
    same = total = 0
    for world in worlds:
        here = {(fact.entity.title, fact.relation.name, fact.value.name) for fact in facts_of(world.wiki.domains)}
        for example in world.examples:
            for fact in example.told:
                key = (fact.entity.title, fact.relation.name, fact.value.name)
                assert key in here
                names = [fact.entity.name, *fact.entity.aliases] if example.inverse else spellings(fact, world.wiki.links)
                assert set(names) & set(example.answers)
                same += key in true
                total += 1
    assert same < 0.3 * total  # of four languages one in four or three is the true one again


def test_all_facts_are_for_training_in_a_world() -> None:
    assert EVERYTHING.of(("a", "b")) == EVERYTHING.of_all([("a", "b"), ("c", "d")]) == "train"


def test_a_world_is_the_same_in_every_process() -> None:
    """Sets of texts come in another order in each process, and processes that train together draw alike."""
    script = """
import hashlib
from minirag.corpus.miniwiki import MiniWiki, load_domains
from minirag.corpus.miniwiki.worlds import Tellable, World
domains = [domain for domain in load_domains() if domain.name in ("cities", "rivers")]
world = World(Tellable.of(MiniWiki(domains, [], [])), "seed")
made = [world.wiki.passages, [(one.text, one.answers) for one in world.examples]]
print(hashlib.sha256(repr(made).encode()).hexdigest())
"""
    environments = [os.environ | {"PYTHONHASHSEED": seed} for seed in "12"]
    command = [sys.executable, "-c", script]
    made = [subprocess.run(command, env=one, capture_output=True, text=True, check=True) for one in environments]
    assert made[0].stdout == made[1].stdout
    assert len(made[0].stdout) == 65
