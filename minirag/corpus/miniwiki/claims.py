"""Facts become FEVER's claims: supported, refuted, or such that no article decides them.

What a claim is about must not give its label away. So within a relation and a split there are as many claims with each label,
in the same phrasings and with the same values: a refuted claim takes the value of another entity, an undecided one is about
an entity of which the articles do not tell this relation, since the tables lack it or because it was withheld from them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from minirag.corpus.miniwiki.english import fill, number_of
from minirag.corpus.miniwiki.examples import Example, keys_of, phrasing, spellings
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Links, contains, facts_of, has_intro, normal, share_a_stem
from minirag.corpus.miniwiki.phrasings import Relation
from minirag.corpus.miniwiki.splits import FactKey, Splits, Ties, fact_key, pair, tie_what_follows
from minirag.corpus.miniwiki.telling import Teller

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")
_WITHHELD = 9  # one suitable cell in so many is told nowhere
_UNDECIDED = ("train",) * 13 + ("dev",) * 2 + ("test",) * 5  # undecided claims are rare: a quarter of them is for test


@dataclass(frozen=True)
class Cell:
    """What the articles may or may not tell: a relation of an entity."""

    domain: Domain
    entity: Entity
    relation: Relation


def withhold(domains: Sequence[Domain], links: Links) -> tuple[list[Domain], list[Cell]]:
    """Take some cells out of the tables, so that the articles are silent where they might speak; what is left, what is gone.

    Only a cell of one value that is told nowhere else and follows from nothing else, and that leaves the entity an intro.
    """
    ties = Ties()
    times: dict[FactKey, int] = {}
    for fact in facts_of(domains):
        key = fact_key(fact, links)
        ties.tie([key])
        times[key] = times.get(key, 0) + 1
    tie_what_follows(ties, domains, links)
    sizes = ties.sizes()
    kept, gone = [], []
    for domain in domains:
        entities = []
        for entity in domain.entities:
            cells = dict(entity.cells)
            for name, values in entity.cells.items():
                relation = domain.phrasings.relations[name]
                key = pair(entity.title, values[0].name)
                alone = len(values) == 1 and times.get(key) == 1 and sizes[ties.last(key)] == 1
                if alone and _closed(relation) and number_of("withhold", domain.name, entity.title, name) % _WITHHELD == 0:
                    rest = {other: cell for other, cell in cells.items() if other != name}
                    if len(rest) > 2 and has_intro(domain.phrasings, rest):
                        cells = rest
                        gone.append(Cell(domain, entity, relation))
            entities.append(replace(entity, cells=cells))
        kept.append(replace(domain, entities=tuple(entities)))
    return kept, gone


def claims(domains: Sequence[Domain], links: Links, splits: Splits, withheld: Sequence[Cell]) -> list[Example]:
    """All claims on facts; `domains` are those that the articles tell, `withheld` what was taken from them."""
    told = {fact_key(fact, links) for fact in facts_of(domains)}
    gone = {(cell.domain.name, cell.relation.name, cell.entity.title) for cell in withheld}
    made: list[Example] = []
    for domain in domains:
        for relation in domain.phrasings.relations.values():
            if _closed(relation):
                known, silent = _known(domain, relation, links, splits), _silent(domain, relation, splits, gone)
                for split, facts in known.items():
                    made += _balanced(facts, silent[split], split, Teller(links), told)
    return made


def _closed(relation: Relation) -> bool:
    """Whether an entity has one value at most, so that another one is false."""
    return not relation.many and not relation.open


def _known(domain: Domain, relation: Relation, links: Links, splits: Splits) -> dict[str, list[Fact]]:
    known: dict[str, list[Fact]] = defaultdict(list)
    for entity in domain.entities:
        for value in entity.cells.get(relation.name, ()):
            fact = Fact(domain, entity, relation, value)
            if not (contains(entity.title, value.name) or share_a_stem(entity.title, value.name)):
                known[splits.of(fact_key(fact, links))].append(fact)
    return known


def _silent(domain: Domain, relation: Relation, splits: Splits, gone: set[tuple[str, str, str]]) -> dict[str, list[Entity]]:
    """The entities of which the articles do not tell the relation, though it may have a value."""
    silent: dict[str, list[Entity]] = defaultdict(list)
    for entity in domain.entities:
        if relation.name not in entity.cells and (not relation.absent or (domain.name, relation.name, entity.title) in gone):
            lot = number_of("undecided", domain.name, relation.name, entity.title)
            split = splits.kept_apart.get(normal(entity.title), _UNDECIDED[lot % len(_UNDECIDED)])
            silent[split].append(entity)
    return silent


def _balanced(known: list[Fact], silent: list[Entity], split: str, teller: Teller, told: set[FactKey]) -> Iterator[Example]:
    """As many claims with each label, three by three in the same words but for the entity and the value."""
    count = min(len(known), len(silent))
    known = sorted(known, key=lambda fact: number_of("claim", fact.relation.name, fact.entity.title))[:count]
    silent = sorted(silent, key=lambda entity: number_of("claim", entity.title))[:count]
    wrong = _assigned(known, [fact.entity for fact in known], teller.links, told)
    loose = _assigned(known, silent, teller.links, told)
    for i, fact in enumerate(known):
        false, open = wrong[i], loose[i]
        if false and open:
            for label, entity, value in zip(LABELS, (fact.entity, fact.entity, silent[i]), (fact, false, open), strict=True):
                yield _claim(label, entity, value, fact, split, teller)


def _assigned(known: Sequence[Fact], entities: Sequence[Entity], links: Links, told: set[FactKey]) -> list[Fact | None]:
    """For each entity the fact of another one whose value would be untrue, or untold, of it, each fact used once; the
    likeliest first: one of an entity that has other values in common with it."""
    left, chosen = list(known), []
    for entity, true in zip(entities, known, strict=True):
        suiting = [fact for fact in left if _suits(fact, entity, true, links, told)]
        best = max(suiting, key=lambda fact: _in_common(fact.entity, entity), default=None)
        if best:
            left.remove(best)
        chosen.append(best)
    return chosen


def _in_common(one: Entity, other: Entity) -> int:
    values = ({value for cell in entity.cells.values() for value in cell} for entity in (one, other))
    return len(set.intersection(*values))


def _suits(fact: Fact, entity: Entity, known: Fact, links: Links, told: set[FactKey]) -> bool:
    names = [fact.value.name, *fact.value.others]
    true = spellings(known, links) if known.entity is entity else []
    near = any(contains(one, other) or contains(other, one) for one in names for other in (*true, entity.title))
    return not near and pair(entity.title, fact.value.name) not in told


def _claim(label: str, entity: Entity, stated: Fact, known: Fact, split: str, teller: Teller) -> Example:
    """The claim that `entity` has the value of `stated`, in the phrasing that goes with `known`."""
    domain, relation = known.domain, known.relation
    names = ("claim", domain.name, relation.name, known.entity.title)
    template, new = phrasing(relation.statements, split, *names)
    value = teller.told(domain, stated.entity, relation.name, template, number_of(*names))
    text = fill(template, {"entity": entity.phrase, "value": value})
    told = () if label == LABELS[2] else (known,)
    return Example(
        id=str(number_of("claim", text) % 10**12),
        split=split,
        text=text,
        answers=(label,),
        entity=entity.title,
        domain=domain.name,
        relations=(relation.name,),
        facts=keys_of(told, teller.links),
        told=told,
        new_phrasing=new,
    )
