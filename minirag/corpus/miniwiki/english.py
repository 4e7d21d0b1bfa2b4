"""From a template to an English sentence: articles, possessives, lists, pronouns, capitals and full stops."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

_PRONOUNS = {"it": ("It", "Its"), "he": ("He", "His"), "she": ("She", "Her")}
# Sounds, not letters, decide between a and an: "a European", "a one-act play", "an hour", "an 8-bit", "an F".
_CONSONANT_SOUND = re.compile(r"(eu|ewe|one\b|once|uni(?!n|m)|us[eu]|ut[ai]|uk|ur[ua]n|ubiq|u\b)", re.IGNORECASE)
_VOWEL_SOUND = re.compile(r"([aeiou]|hour|honest|honou?r|heir|8|11\b|18\b|18\d\d\b|[FHLMNRSX]\b)", re.IGNORECASE)
# Names that take "the" in a sentence: by their first word (the University of Basel) or by their last (the Ottoman Empire).
_DEFINITE = re.compile(
    r"((University|College|Institute|Republic|Kingdom|Duchy|Principality|Museum|Sea|Gulf|Bay|Battle|Treaty|Duke) of |River |"
    r"(.*[ ])?(Empire|Union|Ocean|Sea|River|Mountains|Alps|Gallery|Museum|Museum of .*|Society|Republic|Kingdom|States)$|"
    r"(Himalayas|Andes|Pyrenees|Louvre|Prado|Hermitage|Rijksmuseum|Karakoram|Danube|Rhine|Nile|Netherlands|Philippines)$)"
)
# After "the", after a kind in apposition (the mountain Eiger) and after "present-day" a name does without its own.
_NO_SECOND_THE = re.compile(r"(\bthe|\bthe (mountain|river|painting|country|state)|\bpresent-day) $", re.IGNORECASE)


def pick(options: Sequence[T], *names: str) -> T:
    """One of the options, chosen by a hash of names: the same on every machine, as good as drawn by lot."""
    return options[number_of(*names) % len(options)]


def number_of(*names: str) -> int:
    """A 64-bit number that depends on the names alone."""
    return int.from_bytes(hashlib.sha256("\x1f".join(names).encode()).digest()[:8], "big")


def listed(items: Sequence[str]) -> str:
    """Items as a list in a sentence.

    >>> listed(["A", "B", "C"]), listed(["A", "B"]), listed(["A"])
    ('A, B and C', 'A and B', 'A')
    """
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]


def article_for(phrase: str) -> str:
    """The indefinite article by sound.

    >>> [article_for(p) for p in ("opera", "European", "hour", "union", "unincorporated area")]
    ['an', 'a', 'an', 'a', 'an']
    """
    return "an" if _VOWEL_SOUND.match(phrase) and not _CONSONANT_SOUND.match(phrase) else "a"


def fill(template: str, phrases: Mapping[str, str]) -> str:
    """The sentence (or title) of a template, its names in braces replaced by phrases.

    >>> fill("{entity}'s capital is a {value}.", {"entity": "the United States", "value": "old city"})
    "The United States' capital is an old city."
    >>> fill("Who painted {entity}?", {"entity": "Who Are We?"})
    'Who painted Who Are We?'
    >>> fill("The {entity} is governed from {value}.", {"entity": "the Netherlands", "value": "Washington, D.C."})
    'The Netherlands is governed from Washington, D.C.'
    """
    text = phrase = ""
    for piece in re.split(r"(\{[a-z0-9_]+\})", template):
        if not (piece.startswith("{") and piece.endswith("}")):
            plural = piece.startswith("'s ") and phrase.startswith("the ") and phrase.endswith("s")
            text += "'" + piece[2:] if plural else piece
            continue
        phrase = phrases[piece[1:-1]]
        if _NO_SECOND_THE.search(text):
            text += phrase.removeprefix("the ")
            continue
        indefinite = re.search(r"\b(an?) $", text, re.IGNORECASE)
        if indefinite:
            right = article_for(phrase)
            text = text[: indefinite.start()] + (right.capitalize() if indefinite[1][0] == "A" else right) + " "
        text += phrase
    return capitalised(re.sub(r"(?<=[?!])[.?]$|(?<=\.)\.$", "", text))


def capitalised(text: str) -> str:
    """The text with a capital first letter, also inside an opening quotation mark."""
    start = 1 if text[:1] in ('"', "“", "‘") else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]


def definite(name: str) -> str:
    """A name as it stands inside a sentence, with "the" where English wants it.

    >>> [definite(name) for name in ("Ottoman Empire", "University of Basel", "Yale University", "the Sun")]
    ['the Ottoman Empire', 'the University of Basel', 'Yale University', 'the Sun']
    """
    return f"the {name}" if _DEFINITE.match(name) and not name.startswith(("the ", "The ")) else name


def after_comma(template: str) -> str | None:
    """The template as it continues after "By comparison,", or None where its opening would not read well there."""
    if template.startswith("{"):
        return template
    return template[:1].lower() + template[1:] if template.split(" ", 1)[0] in ("A", "An", "The") else None


def with_pronoun(template: str, name: str, pronoun: str) -> str | None:
    """The template with a pronoun for `{name}` where that is easily its subject or a possessive at its beginning, else None.

    >>> with_pronoun("{entity}'s capital is {value}.", "entity", "it")
    'Its capital is {value}.'
    >>> with_pronoun("The year of birth of {entity} is {value}.", "entity", "she")
    'Her year of birth is {value}.'
    >>> with_pronoun("{value} is where {entity} was born.", "entity", "he")
    '{value} is where he was born.'
    """
    if pronoun not in _PRONOUNS:  # "they" would need other verbs than the templates have
        return None
    subject, possessive = _PRONOUNS[pronoun]
    slot = rf"\{{{name}\}}"
    for pattern, replacement in (
        (rf"^{slot} (?!and )", f"{subject} "),
        (rf"^{slot}'s ", f"{possessive} "),
        (
            rf"^The ((?:(?!(?:of|that|which|to|for|in|on|is|was|are) )[a-z-]+ )+(?:of [a-z]+ )?)of {slot} (?!and )",
            rf"{possessive} \1",
        ),
        (rf"\b(where|which|that|when) {slot} (?!and )", rf"\1 {subject.lower()} "),
    ):
        shorter, found = re.subn(pattern, replacement, template)
        if found:
            return shorter
    return None
