"""New names for worlds: which words are exchanged and for what, that links hold, and that real names become many others."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniwiki_case import FACTS, PHRASINGS, load

from minirag.corpus.miniwiki import Domain, Links, MiniWiki, facts_of
from minirag.corpus.miniwiki.names import Names, blended, renamed
from minirag.corpus.miniwiki.worlds import Tellable, World


def names(domains: list[Domain]) -> set[str]:
    return {entity.title for domain in domains for entity in domain.entities}


def test_which_words_are_exchanged(tmp_path: Path) -> None:
    """Words of names only (Boreas), and words that a question says (Rulers) or another name in small letters (Isles)."""
    rows = "Land of Rulers,,it,yes,Vale,,,\nGate VII,,it,,isles and a gate,,,\nMu,,it,,NATO,,,\n"
    found = Names.of(load(tmp_path, facts=FACTS + rows).domains)
    assert {"boreas", "camelot", "atlantis", "vale", "keris"} <= found.own.keys()
    assert found.own["atlantis"] == "lands"
    assert found.own["camelot"] == "city"
    assert found.own["breton"] == "language"
    assert set(found.meant) == {"Land", "Gate", "Rulers", "Isles"}
    assert set(found.meant.values()) == {"lands"}
    for short in ("vii", "ys", "mu", "tor", "of", "nato", "1200"):
        assert short not in found.own
        assert short.title() not in found.meant


def test_what_many_names_share_is_left_alone(tmp_path: Path) -> None:
    rows = "".join(
        f"Mount {one},,it,,{one}stead,,,\n" for one in ("Abar", "Bolum", "Cadir", "Dovan", "Elgath", "Foris", "Gundar")
    )
    few = Names.of(load(tmp_path / "few", facts=FACTS + rows).domains)
    many = Names.of(load(tmp_path / "many", facts=FACTS + rows + "Mount Hesper,,it,,X,,,\nMount Iskal,,it,,Y,,,\n").domains)
    assert "mount" in few.own
    assert "mount" not in many.own
    assert "abar" in many.own


def test_common_nouns_are_names_in_small_letters_where_titles_are(tmp_path: Path) -> None:
    facts = FACTS.split("\n")[0] + "\nGolden ragwort,,it,,Camelot,,,\nSilver,,it,,Golden Gate,,,\nTin,,it,,leaden,,,\n"
    phrasings = PHRASINGS.replace("\n[relations.capital]", "\ncommon = true\n[relations.capital]")
    found = Names.of(load(tmp_path, facts=facts, phrasings=phrasings).domains)
    assert {"golden", "ragwort", "silver"} <= found.own.keys()
    assert "leaden" not in found.own


def test_a_word_is_exchanged_in_every_name(tmp_path: Path) -> None:
    """In titles, other names, values and their spellings, with the capital it had; not inside of longer words."""
    rows = "Avalon Boreas,The Boreas,it,,Boreasburg,Breton,,\nUltima,Old Thule,it,,Thule|Thule Town,,,\n"
    wiki = load(tmp_path, facts=FACTS + rows)
    new = {"boreas": "notus", "thule": "islay", "breton": "cornish"}
    (domain,) = renamed(wiki.domains, new)
    by_title = {entity.title: entity for entity in domain.entities}
    assert by_title["Avalon Notus"].aliases == ("The Notus",)
    assert by_title["Avalon Notus"].cells["capital"][0].name == "Boreasburg"
    assert by_title["Avalon Notus"].cells["language"][0].name == "Cornish"
    assert by_title["Ultima"].aliases == ("Old Islay",)
    assert by_title["Ultima"].cells["capital"][0].others == ("Islay Town",)
    assert by_title["Islay"].cells["capital"][0].name == "Tor"
    assert by_title["Hyperborea"].cells["capital"][0].name == "Notus"
    value, relation = by_title["Ultima"].cells["capital"][0], domain.phrasings.relations["capital"]
    assert Links([domain]).namesakes(value.name) == [(domain, by_title["Islay"])]
    assert relation is wiki.domains[0].phrasings.relations["capital"]  # templates are not touched
    assert names(wiki.domains) >= {"Avalon Boreas", "Thule"}  # nor are the true tables


def test_of_two_entities_of_one_title_one_is_left(tmp_path: Path) -> None:
    (domain,) = renamed(load(tmp_path).domains, {"avalon": "thule"})
    assert [entity.title for entity in domain.entities] == ["Atlantis", "Isles of Ys", "Lemuria", "Thule", "Hyperborea"]


@given(st.text("aeioubcdfglmnrst", min_size=1), st.text("aeioubcdfglmnrst", min_size=1), st.integers(0, 10**6))
def test_blends_are_a_head_and_a_tail(one: str, other: str, seed: int) -> None:
    one, other = f"{one}ela", f"{other}oka"  # so that each can be cut
    made = blended(one, other, random.Random(seed))
    cuts = [i for i in range(1, len(made)) if one.startswith(made[:i]) and other.endswith(made[i:])]
    assert any(made[i - 1] in "aeiou" and made[i] not in "aeiou" for i in cuts)


@pytest.mark.parametrize("seed", range(5))
def test_new_words_are_new_and_of_the_same_kind(wiki: MiniWiki, seed: int) -> None:
    found = Names.of(wiki.domains)
    new = found.exchanged(random.Random(seed))
    own = {word: made for word, made in new.items() if word in found.own and made != word}
    assert len(set(own.values())) == len(own)
    assert found.own.keys().isdisjoint(own.values())
    assert min(map(len, own.values())) >= 4
    for word, made in list(own.items())[:300]:
        of_its_kind = [one for one, kind in found.own.items() if kind == found.own[word]]
        assert any(made.startswith(one[:1]) for one in of_its_kind)
        assert any(made.endswith(one[-1:]) for one in of_its_kind)
    meant = {word: made for word, made in new.items() if word in found.meant}
    assert sorted(meant) == sorted(meant.values())
    assert all(found.meant[word] == found.meant[made] for word, made in meant.items())
    assert 0.4 < len(own) / len(found.own) < 0.6
    assert 0.4 < len(meant) / len(found.meant) < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_what_is_linked_stays_linked(wiki: MiniWiki, seed: int) -> None:
    """Names that two entities of one domain come to share are seldom (one of them is left then); else links stay."""
    new = Names.of(wiki.domains).exchanged(random.Random(seed))
    domains = renamed(wiki.domains, new)
    before, after = (
        sum(links.find(fact.value, fact.relation) is not None for fact in facts_of(told))
        for links, told in ((wiki.links, wiki.domains), (Links(domains), domains))
    )
    assert 0 <= len(names(wiki.domains)) - len(names(domains)) <= 3
    assert before > 1000
    assert 0 <= before - after < 0.01 * before


def test_worlds_have_names_of_their_own(wiki: MiniWiki) -> None:
    tellable = Tellable.of(wiki)
    first, second = (names(World(tellable, seed).wiki.domains) for seed in "12")
    true = names(wiki.domains)
    assert 0.3 < len(first & true) / len(first) < 0.6
    assert len(first & second) < 0.4 * len(first)
    assert not [title for title in first if not title or re.search(r"\s\s|^\s|\s$", title)]
