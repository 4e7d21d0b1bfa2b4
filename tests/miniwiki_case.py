"""A wiki of six lands, small enough to work out by hand."""

from pathlib import Path

from minirag.corpus.miniwiki import MiniWiki

FACTS = """entity,aliases,pronoun,the,capital,language,founded,people
Atlantis,,it,,Poseidonia,Punic,1200 BC,64000
Isles of Ys,Ys,it,yes,Kêr-Is|Keris,Breton;Punic,480,
Lemuria,,it,,Meru,,,9800
Avalon,,it,,Camelot,,,
Thule,,it,,Tor,,,
Hyperborea,,it,,Boreas,,,
"""
PHRASINGS = """
kind = "country"
plural = "countries"
short = "the land"
intro = ["{entity} is a country.", "{entity} is a land.", "{entity} is a realm.", "{entity} is a state around {capital}.",
  "{entity} is a place.", "{entity} is an island."]
together = ["{entity}, founded in {founded}, is ruled from {capital}.",
  "Founded in {founded}, {entity} has {people} inhabitants.",
  "With {people} inhabitants, {entity} has {capital} as capital.", "From {capital}, {entity} rules {people} people.",
  "{entity} has {people} inhabitants and was founded in {founded}."]
[relations.capital]
label = "capital"
value = "city"
statements = ["The capital of {entity} is {value}.", "{entity} has {value} as capital.", "{value} is capital of {entity}.",
  "{entity} is ruled from {value}.", "{entity} calls {value} its capital.", "The people of {entity} are ruled from {value}."]
inverse = ["{value} is the capital of {entity}.", "{value} is the seat of government in {entity}.", "{value} rules {entity}."]
questions = ["What is the capital of {entity}?", "Which city rules {entity}?", "From where is {entity} ruled?",
  "What is the seat of the rulers of {entity}?", "Where do the rulers of {entity} sit?"]
inverse_questions = ["Which country has {value} as its capital?", "Of what is {value} the capital?", "What does {value} rule?"]
more_questions = ["{entity} is ruled from where?", "Do you know the capital of {entity}?"]
more_inverse_questions = ["{value} is whose capital?"]
[relations.language]
label = "language"
value = "language"
statements = ["{entity} speaks {value}.", "{value} is spoken in {entity}.", "The people of {entity} speak {value}.",
  "In {entity} one hears {value}.", "{entity} writes {value}.", "The poets of {entity} write {value}."]
many = ["{entity} speaks {value}.", "{value} are spoken in {entity}.", "In {entity} one hears {value}."]
questions = ["What is spoken in {entity}?", "What do people speak in {entity}?", "Which tongue belongs to {entity}?",
  "What does one hear in {entity}?", "What do the poets of {entity} write?"]
inverse_questions = ["Where is {value} spoken?", "In which country would one hear {value}?", "Where do poets write {value}?"]
[relations.founded]
label = "founded"
value = "year"
statements = ["{entity} was founded in {value}.", "{entity} dates from {value}.", "In {value} {entity} began.",
  "The year of the founding of {entity} is {value}.", "{entity} began in {value}.", "Since {value} {entity} is known."]
questions = ["When was {entity} founded?", "When did {entity} begin?", "Since when is {entity} known?",
  "What is the date of the founding of {entity}?", "In which year was {entity} set up?"]
[relations.people]
label = "inhabitants"
value = "number"
statements = ["{entity} has {value} inhabitants.", "{entity} feeds {value} people.", "In {entity} live {value} people.",
  "{value} people live in {entity}.", "{entity} numbers {value} souls.", "The number of people in {entity} is {value}."]
questions = ["How many people live in {entity}?", "How many inhabitants has {entity}?", "How many does {entity} feed?",
  "How large is the population of {entity}?", "By how many is {entity} inhabited?"]
[[overviews]]
title = "Capitals"
relations = ["capital"]
opening = ["Every country has a capital."]
lines = ["{entity} has {capital}.", "in {entity} it is {capital}.", "{capital} is that of {entity}."]
"""


def write(folder: Path, facts: str = FACTS, phrasings: str = PHRASINGS, name: str = "lands") -> Path:
    """A folder of tables with one domain."""
    for kind, ending, text in (("facts", "csv", facts), ("phrasings", "toml", phrasings)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{name}.{ending}").write_text(text, encoding="utf-8")
    return folder


def load(folder: Path, **changed: str) -> MiniWiki:
    """The small wiki, or one with other tables."""
    return MiniWiki.load(write(folder, **changed))


NAMES = "Abar Bolum Cadir Dovan Elgath Foris Gundar Hesper Iskal Jorun Kalmor Lurin Medar Norvik Oslan Pelor Quenda Rovik"
CAPITALS = "Anst Brux Clom Drim Ewl Frop Glif Hurt Irx Jank Kirb Lopt Mulf Nisk Orth Pryl Quib Rast"
LANGUAGES = ("Tirish", "Ulvian", "Wendic", "Xantic")


def many_lands(folder: Path) -> MiniWiki:
    """The small wiki's lands among eighteen more, so that enough is left for training."""
    rows = []
    for i, (name, capital) in enumerate(zip(NAMES.split(), CAPITALS.split(), strict=True)):
        spoken = LANGUAGES[i % 4] + (f";{LANGUAGES[(i + 1) % 4]}" if i % 3 == 0 else "")
        rows.append(f"{name},,it,,{capital}|Old {capital},{spoken},{1000 + 13 * i},{5000 + 77 * i}")
    return load(folder, facts=FACTS + "\n".join(rows) + "\n")
