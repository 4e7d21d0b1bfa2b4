"""MiniWiki's tables: what is wrong in them is named, and what stands in them holds of the world."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import pycountry
import pytest
from miniwiki_case import FACTS, PHRASINGS, write

from minirag.corpus.miniwiki import Domain, Entity, Links, Value, facts_of, load_domains
from minirag.corpus.miniwiki.examples import spellings
from minirag.corpus.miniwiki.facts import normal
from minirag.corpus.miniwiki.values import parse_date
from minirag.corpus.rows import BadRows
from minirag.corpus.wikipedia import read_wiki_jsonl
from minirag.errors import MiniragError
from minirag.tasks.metrics import has_answer


@pytest.fixture(scope="module")
def domains() -> list[Domain]:
    return load_domains()


# Reading and checking


def test_reads_a_domain(tmp_path):
    (lands,) = load_domains(write(tmp_path))
    ys = lands.entities[1]
    assert (ys.title, ys.aliases, ys.phrase) == ("Isles of Ys", ("Ys",), "the Isles of Ys")
    assert ys.cells["capital"] == (Value("Kêr-Is", ("Keris",)),)
    assert [value.name for value in ys.cells["language"]] == ["Breton", "Punic"]
    assert lands.entities[2].cells.keys() == {"capital", "people"}
    assert len(list(facts_of([lands]))) == 13


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("capital,language", "capital,ruler", "row 1, column ruler: is no relation"),
        ("capital,language", "capital,capital", "row 1, column capital: stands 2 times"),
        ("pronoun,the", "gender,the", "row 1, column gender: is no relation"),
        ("64000\nIsles", "64000,x\nIsles", "row 2, column entity: has 9 cells"),
        ("Atlantis,,it,,Pos", ",,it,,Pos", "row 2, column entity: is empty"),
        ("Atlantis,,it,,Pos", "the Lemuria,,it,,Pos", "row 4, column entity: repeats 'Lemuria' of row 2"),
        ("Lemuria,,it", "Lemuria,,It", "row 4, column pronoun: is 'It'"),
        ("Ys,it,yes", "Ys,it,no", "row 3, column the: is 'no'"),
        ("Ys,it,yes", "Ys;ys,it,yes", "row 3, column aliases: 'Ys;ys' is empty in part or repeats"),
        ("Ys,it,yes", "Ys;,it,yes", "row 3, column aliases: 'Ys;' is empty in part"),
        ("Meru", " Meru", "row 4, column capital: has a stray space or an invisible"),
        ("Meru", "Meru|", "row 4, column capital: 'Meru|' has an empty value"),
        ("Meru", "Meru;Mu", "row 4, column capital: 'Meru;Mu' has several values"),
        ("Meru", "Lemuria", "row 4, column capital: 'Lemuria' is the entity itself"),
        ("Breton;Punic", "Breton;Breton", "row 3, column language: 'Breton;Breton' repeats"),
        ("Meru", "city", "row 4, column capital: 'city' is answered by 'Which city rules {entity}?' itself"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path, old, new, complaint):
    assert FACTS.count(old) == 1
    with pytest.raises(MiniragError, match=re.escape(f"lands.csv, {complaint}")):
        load_domains(write(tmp_path, facts=FACTS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('kind = "country"', "kind = country", "lands.toml is not valid TOML"),
        ('kind = "country"', "", "lands.toml: kind is missing"),
        ('kind = "country"', 'kind = "country"\nsort = "x"', "sort is not a known key"),
        ('kind = "country"', 'kind = "country"\ncommon = 1', "common is 1; write true or false"),
        ('"{entity} is a land.", ', "", "intro has 5 phrasings; write at least 6"),
        ('short = "the land"', 'short = "land"', """short is 'land'; write it like "the river\""""),
        ('"Founded in {founded}, {entity} has {people} inhabitants.",', "", "together has 4 phrasings; write at least 5"),
        ("Founded in {founded}, {entity} has {people} ", "{entity} has {people} ", "together has one relation or too many"),
        ('label = "capital"', 'label = "capital"\nopen = "yes"', "relations.capital.open is 'yes'; write true or false"),
        ("around {capital}", "around {river}", "intro has wrong placeholders"),
        ('"The capital of {entity} is {value}.", ', "", "relations.capital.statements has 5 phrasings"),
        ("is ruled from {value}.", "is ruled from {values}.", "relations.capital.statements has wrong placeholders"),
        ("is ruled from {value}.", "is ruled from {value} {.", "relations.capital.statements has wrong placeholders"),
        ("is ruled from {value}.", "is ruled from {value}", "relations.capital.statements has a stray space or no final '.'"),
        ("is ruled from {value}.", "is  ruled from {value}.", "relations.capital.statements has a stray space"),
        ("{entity} is ruled from {value}.", "The capital of {entity} is {value}.", "statements says the same twice"),
        (', "{value} are spoken in {entity}."', "", "relations.language.many has 2 phrasings; write at least 3"),
        (', "{value} is the seat of government in {entity}."', "", "relations.capital.inverse has 2 phrasings"),
        (', "From where is {entity} ruled?"', "", "relations.capital.questions has 4 phrasings"),
        ("From where is {entity} ruled?", "From where is {value} ruled?", "relations.capital.questions has wrong placeholders"),
        ('["Where is {value} spoken?", ', "[", "relations.language.inverse_questions has 2 phrasings"),
        ("{entity} is ruled from where?", "{value} is ruled from where?", "capital.more_questions has wrong placeholders"),
        (
            "{entity} is ruled from where?",
            "where do the rulers of {entity} sit?",
            "more_questions repeats the question 'where do",
        ),
        ("{entity} is ruled from where?", "Where do the rulers of {entity}, say, sit?", "which asks in the words of the last"),
        ("{value} is whose capital?", "What does {value} rule?", "more_inverse_questions repeats the question 'what does"),
        ('["{value} is whose capital?"]', "[]", "more_inverse_questions has 0 phrasings; write at least 1"),
        ('value = "language"', "", "relations.language.value is missing"),
        ('label = "capital"', 'label = "capital"\nnote = ""', "relations.capital.note is not a known key"),
        ("[relations.language]", "[relations.tongue]", "row 1, column language: is no relation"),
        ('relations = ["capital"]', 'relations = ["river"]', "overviews[0].relations is ['river']"),
        ('title = "Capitals"', 'title = "Capitals of {sea}"', "overviews[0].title groups by ['sea']"),
        ('"{entity} has {capital}.", ', "", "overviews[0].lines has 2 phrasings"),
        ("in {entity} it is {capital}.", "in {entity} it is so.", "overviews[0].lines has wrong placeholders"),
        ('["Every country has a capital."]', "[]", "overviews[0].opening has 0 phrasings"),
    ],
)
def test_a_wrong_phrasing_is_named(tmp_path, old, new, complaint):
    assert PHRASINGS.count(old) == 1
    with pytest.raises(MiniragError, match=re.escape(complaint)):
        load_domains(write(tmp_path, phrasings=PHRASINGS.replace(old, new)))


def test_years_are_years(tmp_path):
    phrasings = PHRASINGS.replace('value = "city"', 'value = "year"')
    with pytest.raises(MiniragError, match=r"row 2, column capital: 'Poseidonia' is no year; write it as 1789 or 44 BC"):
        load_domains(write(tmp_path, phrasings=phrasings))


def test_days_are_days(tmp_path):
    facts = FACTS.replace("Poseidonia", "1789-07-14").replace("Kêr-Is|Keris", "1789-2-30").replace("Meru", "1969-07-20")
    with pytest.raises(MiniragError, match=r"row 3, column capital: '1789-2-30' is no day; write it as 1789-07-14"):
        load_domains(write(tmp_path, facts=facts, phrasings=PHRASINGS.replace('value = "city"', 'value = "date"')))


def test_an_entity_without_any_intro_is_named(tmp_path):
    intro = [f"{letter} {{entity}} {{language}}." for letter in "ABCDEF"]
    phrasings = re.sub(r"intro = \[.*?\]", f"intro = {json.dumps(intro)}", PHRASINGS, flags=re.S)
    with pytest.raises(MiniragError, match="row 4, column entity: 'Lemuria' lacks a fact of every intro"):
        load_domains(write(tmp_path, phrasings=phrasings))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "lands.csv, row 1, column entity: stands 0 times in the header"),
        (FACTS.encode("latin1"), "lands.csv is not in UTF-8"),
        (FACTS.replace("Meru", '"Meru').encode(), "lands.csv, row 4: is not CSV"),
        (FACTS.encode()[:-8].replace(b"Tor", b"T\0or"), "has a stray space or an invisible character"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, content, complaint):
    (write(tmp_path) / "facts" / "lands.csv").write_bytes(content)
    with pytest.raises(MiniragError, match=re.escape(complaint)):
        load_domains(tmp_path)


def test_both_tables_are_needed(tmp_path):
    with pytest.raises(MiniragError, match=r"holds no facts/\*\.csv"):
        load_domains(tmp_path)
    (write(tmp_path) / "phrasings" / "lands.toml").unlink()
    with pytest.raises(MiniragError, match="has facts but no phrasings for the domain lands"):
        load_domains(tmp_path)


def test_a_value_is_linked_to_the_namesake_of_its_kind(domains):
    links = Links(domains)
    facts = {(f.entity.title, f.relation.name, f.value.name): f for f in facts_of(domains)}
    carter = facts["Jimmy Carter", "birth_state", "Georgia"]
    assert links.find(carter.value, carter.relation)[0].name == "us_states"
    bush = facts["George H. W. Bush", "birthplace", "Milton"]
    assert links.find(bush.value, bush.relation) is None  # not John Milton


# What must hold of the world


def rows(domains: list[Domain], name: str) -> tuple[Entity, ...]:
    return next(domain for domain in domains if domain.name == name).entities


def only(entity: Entity, relation: str) -> str:
    (value,) = entity.cells[relation]
    return value.name


def year(text: str) -> int:
    return -int(text[:-3]) if text.endswith(" BC") else int(text[:4])


def test_elements_agree_with_mendeleev(domains):
    """Symbol, number, period, group, block and year of discovery against another table of the elements."""
    import mendeleev

    theirs = {element.symbol: element for element in mendeleev.get_all_elements()}
    elements = rows(domains, "elements")
    assert [int(only(element, "atomic_number")) for element in elements] == list(range(1, 119))
    assert len({only(element, "symbol") for element in elements}) == 118
    differing = []
    for element in elements:
        other = theirs[only(element, "symbol")]
        assert other.atomic_number == int(only(element, "atomic_number"))
        assert other.name.lower() in [name.lower() for name in (element.title, *element.aliases)]
        for ours, attribute in (("period", "period"), ("group", "group_id"), ("block", "block")):
            true = getattr(other, attribute)
            if ours in element.cells and true is not None and str(true) != only(element, ours):
                differing.append((element.title, ours, only(element, ours), true))
    assert differing == []


def test_countries_have_the_iso_codes_of_pycountry(domains):
    countries = rows(domains, "countries")
    for country in countries:
        known = pycountry.countries.get(alpha_2=only(country, "iso_code"))
        assert known, country.title
        theirs = {
            word[:4] for key in ("name", "common_name", "official_name") for word in normal(getattr(known, key, "")).split()
        }
        ours = {word[:4] for name in (country.name, *country.aliases) for word in normal(name).split()}
        assert ours & theirs, country.title


# One value belongs to one entity: a capital to a country, a symbol to an element, a postal code to a state.
ONE_TO_ONE = [
    ("countries", "iso_code"),
    ("countries", "internet_domain"),
    ("countries", "capital"),
    ("countries", "official_name"),
    ("elements", "symbol"),
    ("elements", "atomic_number"),
    ("us_states", "capital"),
    ("us_states", "postal_abbreviation"),
    ("us_states", "admission_number"),
    ("presidents", "number"),
    ("solar_system", "position"),
]


@pytest.mark.parametrize(("domain", "relation"), ONE_TO_ONE)
def test_a_value_of_its_own(domains, domain, relation):
    owners = Counter(normal(v.name) for entity in rows(domains, domain) for v in entity.cells.get(relation, ()))
    assert [value for value, times in owners.items() if times > 1] == []


def test_a_relation_with_one_value_has_one_in_every_cell(domains):
    for domain in domains:
        for entity in domain.entities:
            for name, values in entity.cells.items():
                assert len(values) == 1 or domain.phrasings.relations[name].many, (entity.title, name)


def test_no_alias_names_another_entity_of_its_domain(domains):
    for domain in domains:
        owners = defaultdict(set)
        for entity in domain.entities:
            for name in (entity.title, *entity.aliases):
                owners[normal(name)].add(entity.title)
        assert {name: titles for name, titles in owners.items() if len(titles) > 1} == {}, domain.name


def test_no_other_spelling_of_a_person_or_a_symbol_is_another_one(domains):
    """(A wider place or a second date may count as well: Pudding Lane, London.)"""
    for domain in domains:
        told = [f for f in facts_of([domain]) if {"person", "symbol", "ordinal", "title"} & set(f.relation.value.split())]
        values: dict[str, set[str]] = defaultdict(set)
        for fact in told:
            values[fact.relation.name].add(normal(fact.value.name))
        collisions = {
            (fact.relation.name, fact.value.name, other)
            for fact in told
            for other in fact.value.others
            if normal(other) in values[fact.relation.name] - {normal(fact.value.name)}
        }
        assert collisions == set(), domain.name


# What Wikipedia's articles tell in sentences (codes, currencies and summits stand in tables there, which its text lacks).
IN_PROSE = {
    "countries": "capital official_name largest_city official_languages borders former_name independence_year independent_from "
    "demonym",
    "cities": "country region river waterfront former_names landmarks",
}


def test_countries_and_cities_agree_with_wikipedia(domains, shared):
    """Of the facts on a title that is among the real articles, nearly every value stands in the article."""
    articles = {
        normal(article.title): article.text
        for article in read_wiki_jsonl(shared / "wikipedia" / "articles.jsonl.gz", BadRows(skip=True))
    }
    links, missing, found = Links(domains), [], 0
    for fact in facts_of(domains):
        text = articles.get(normal(fact.entity.title))
        if text and fact.relation.name in IN_PROSE.get(fact.domain.name, "").split():
            if has_answer(text, spellings(fact, links)):
                found += 1
            else:
                missing.append((fact.entity.title, fact.relation.name, fact.value.name))
    assert found > 1_400
    assert len(missing) <= 0.01 * found, missing


def test_each_state_has_one_capital_of_its_own(domains):
    assert len(rows(domains, "us_states")) == 50
    assert all(len(state.cells["capital"]) == 1 for state in rows(domains, "us_states"))


def test_borders_are_mutual(domains):
    for name in ("countries", "us_states"):
        links, entities = Links(domains), rows(domains, name)
        relation = next(domain for domain in domains if domain.name == name).phrasings.relations["borders"]
        complete = {
            e.title: {links.find(v, relation)[1].title for v in e.cells["borders"]} for e in entities if "borders" in e.cells
        }
        one_sided = [(a, b) for a, others in complete.items() for b in others if b in complete and a not in complete[b]]
        assert one_sided == []


# (domain, relation) and the relation that tells the same from the other side, in the same or in another domain.
INVERSES = [
    ("countries", "capital", "cities", "country"),
    ("countries", "largest_city", "cities", "country"),
    ("countries", "highest_point", "mountains", "country"),
    ("us_states", "largest_city", "cities", "region"),
    ("rivers", "city", "cities", "river"),
    ("cities", "river", "rivers", "city"),
    ("rivers", "tributary", "rivers", "mouth"),
    ("paintings", "painter", "painters", "work"),
    ("painters", "work", "paintings", "painter"),
    ("books", "author", "writers", "work"),
    ("writers", "work", "books", "author"),
]


def one_sided(domains: list[Domain], here: str, relation: str, there: str, back: str) -> tuple[int, list[tuple[str, str]]]:
    """How many pairs of entities both tables tell of, and those of which the other table tells something else."""
    links, by_name = Links(domains), {domain.name: domain for domain in domains}
    forwards, backwards = by_name[here].phrasings.relations[relation], by_name[there].phrasings.relations[back]
    told, wrong = 0, []
    for entity in by_name[here].entities:
        for value in entity.cells.get(relation, ()):
            target = links.find(value, forwards)
            tellable = ";" not in entity.title  # which parts the values of a cell
            if target and target[0].name == there and back in target[1].cells and tellable:
                told += 1
                named = [(links.find(other, backwards), other) for other in target[1].cells[back]]
                if normal(entity.name) not in {normal(found[1].name if found else other.name) for found, other in named}:
                    wrong.append((entity.title, target[1].title))
    return told, wrong


@pytest.mark.parametrize(("here", "relation", "there", "back"), INVERSES)
def test_what_is_told_from_both_sides_agrees(domains, here, relation, there, back):
    told, wrong = one_sided(domains, here, relation, there, back)
    assert told >= 10
    assert wrong == []


def test_a_disagreement_of_two_tables_is_seen(domains):
    """A planted one: the Vltava's mouth is moved to the Danube, of which it is no tributary; the Elbe goes on listing it."""
    rivers = next(domain for domain in domains if domain.name == "rivers")
    moved = tuple(
        replace(entity, cells=entity.cells | {"mouth": (Value("the Danube"),)}) if entity.title == "Vltava" else entity
        for entity in rivers.entities
    )
    planted = [replace(domain, entities=moved) if domain is rivers else domain for domain in domains]
    assert one_sided(planted, "rivers", "tributary", "rivers", "mouth")[1] == [("Elbe", "Vltava")]


def test_presidents_follow_one_another(domains):
    terms = []
    for president in rows(domains, "presidents"):
        began = [int(value.name) for value in president.cells["took_office"]]
        ended = [int(value.name) for value in president.cells.get("left_office", ())]
        numbers = [int(value.name[:-2]) for value in president.cells["number"]]
        ended += [None] * (len(began) - len(ended))
        terms += zip(numbers, began, ended, [president.title] * len(began), strict=True)
    terms.sort()
    assert [number for number, *_ in terms] == list(range(1, 48))
    assert all(end == start for (_, _, end, _), (_, start, _, _) in pairwise(terms))
    predecessors = {p.title: {v.name for v in p.cells.get("predecessor", ())} for p in rows(domains, "presidents")}
    assert all(before in predecessors[after] for (_, _, _, before), (_, _, _, after) in pairwise(terms))


def test_prime_ministers_of_a_country_follow_one_another(domains):
    by_office = defaultdict(list)
    for minister in rows(domains, "prime_ministers"):
        began = [int(value.name) for value in minister.cells["took_office"]]
        ended = [int(value.name) for value in minister.cells.get("left_office", ())]
        assert len(ended) in (len(began), len(began) - 1), minister.title
        ended += [9999] * (len(began) - len(ended))
        by_office[only(minister, "country")] += [(*term, minister.title) for term in zip(began, ended, strict=True)]
    assert len(by_office) >= 5
    for country, terms in by_office.items():
        terms.sort()
        overlaps = [(one, other) for one, other in pairwise(terms) if one[1] > other[0]]
        assert overlaps == [], country


def test_dates_are_in_range(domains):
    """No year in the future, no life too short or too long, nothing done by the dead (but for what was published later)."""
    lives = 0
    for domain in domains:
        for entity in domain.entities:
            for name, values in entity.cells.items():
                if domain.phrasings.relations[name].value in ("year", "date"):
                    assert all(-4000 < year(value.name) <= 2026 for value in values), (entity.title, name)
            for born, died in (("born", "died"), ("birth_year", "death_year")):
                if born in entity.cells and died in entity.cells:
                    lives += 1
                    assert 15 < year(only(entity, died)) - year(only(entity, born)) < 112, entity.title
            if "birth_year" in entity.cells and "took_office" in entity.cells:
                first = min(year(value.name) for value in entity.cells["took_office"])
                assert 20 < first - year(only(entity, "birth_year")) < 90, entity.title
    assert lives > 300
    assert all(parse_date(value.name) for event in rows(domains, "events") for value in event.cells.get("date", ()))


def test_a_person_in_two_tables_has_one_life(domains):
    """Who is both writer and scientist, or president and prime minister, was born and died once."""
    lives = defaultdict(set)
    for domain in domains:
        for entity in domain.entities:
            if entity.pronoun in ("he", "she"):
                for name in ("born", "birth_year", "died", "death_year"):
                    if name in entity.cells:
                        lives[normal(entity.title), name[0]].add(only(entity, name))
    assert {key: years for key, years in lives.items() if len(years) > 1} == {}


def test_the_eight_planets_are_in_order(domains):
    planets = [body for body in rows(domains, "solar_system") if only(body, "category") == "planet"]
    places = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
    assert [only(planet, "position") for planet in planets] == places
