"""Wiki markup by hand, and that no markup whatever upsets the clean-up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus.markup import clean_markup


@pytest.mark.parametrize(
    ("wikitext", "prose"),
    {
        "plain prose.": "plain prose.",
        "'''bold''' and ''italic'' and '''''both'''''": 'bold and "italic" and "both"',
        "a [[link]] and a [[link|shown so]]": "a link and a shown so",
        "an [http://a.org outer link] and [http://a.org]": "an outer link and",
        "[[File:a.jpg|thumb|a [[link]] inside]]text": "text",
        "[[image:a.jpg]]text[[Category:Things|*]][[fr:Chose]][[zh-min-nan:X]]": "text",
        "[[Category: Things]]text": "text",
        "seen in [[Pi: A Film]]": "seen in Pi: A Film",
        "before {{a|{{b}}|c}}after": "before after",
        "born ({{lang|x}}) in ( , ; ) Lyon": "born in Lyon",
        "text<ref>note with ''it''</ref> goes<ref name=a/> on": "text goes on",
        "a<!-- hidden -->b": "ab",
        "== Heading ==\ntext\n=== Sub ===": "text",
        "one\n{| class=x\n| cell || cell\n|}\ntwo": "one\ntwo",
        "{|\n| outer\n{|\n| inner\n|}\n|}\nafter": "after",
        "one\n* item [[with|link]] in ''it''\n** deeper\n# first\n: indented\n; term : meaning\ntwo": "one\ntwo",
        "<gallery>\nFile:a.jpg|caption\n</gallery>text": "text",
        "File:a.jpg|what another clean-up left\ntext": "text",
        "E = <math>mc^2</math> holds": "E = holds",
        "<div>kept</div> <span style='x'>kept</span> H<sub>2</sub>O": "kept kept H2O",
        "first<br>second": "first\nsecond",
        "caf&eacute;&nbsp;&amp; bar &#xD800;": "café & bar",
        "  spaces \t and\n\n\nparagraphs  ": "spaces and\nparagraphs",
        "__NOTOC__text": "text",
        "he said \"''that''\" twice": 'he said "that" twice',
        "left [[open and {{ too": None,
        "": "",
    }.items(),
)
def test_markup(wikitext, prose):
    if prose is None:  # whatever becomes of it, the words stay
        assert {"left", "open", "and", "too"} <= set(clean_markup(wikitext).replace("[[", "").replace("{{", "").split())
    else:
        assert clean_markup(wikitext) == prose


BRACKETS = ["{{", "}}", "{{{", "}}}", "[[", "]]", "{|", "|}", "\n|", "[http://a b]", "(", ")", "<!--", "-->"]
TAGS = ["<ref>", "</ref>", "<ref name=a/>", "<i>", "</i>", "<nowiki>", "</nowiki>", "<br>", "<math>"]
MARKS = ["''", "'''", "==", "\n==", "\n*", "\n#", "&#xD800;", "&#x110000;", "&nbsp;", "File:"]
PIECES = st.sampled_from(BRACKETS + TAGS + MARKS + ["\n", "\0", "\u2028", " ", ", ", "word", "two words"])


@given(st.lists(PIECES, max_size=40).map("".join))
@settings(max_examples=300)
def test_any_markup_becomes_tidy_text(wikitext):
    prose = clean_markup(wikitext)
    prose.encode()
    assert prose == "\n".join(" ".join(line.split()) for line in prose.splitlines() if line.strip())


@given(st.lists(st.from_regex(r"[a-zé]{1,8}", fullmatch=True), min_size=1, max_size=20))
def test_prose_without_markup_is_left_alone(words):
    assert clean_markup(" ".join(words)) == " ".join(words)
