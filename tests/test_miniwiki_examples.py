"""MiniWiki's examples: no fact in two splits, every answer to be found, no label or answer given away."""

import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniwiki_case import load
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from minirag.corpus.miniwiki import SPLITS, MiniWiki, facts_of
from minirag.corpus.miniwiki.clues import fill_predicate
from minirag.corpus.miniwiki.examples import Example, phrasing, spellings
from minirag.corpus.miniwiki.facts import contains, normal, tokens
from minirag.corpus.miniwiki.on_prose import PROSE
from minirag.corpus.miniwiki.questions import answer_pattern
from minirag.corpus.miniwiki.splits import Ties, fact_key, pair
from minirag.tasks.metrics import has_answer

ASKED = ("nq", "webquestions", "curatedtrec")


@pytest.fixture(scope="module")
def every(wiki: MiniWiki) -> list[Example]:
    return [example for made in wiki.examples.values() for example in made]


@pytest.fixture(scope="module")
def asked(wiki: MiniWiki) -> list[Example]:
    """The questions on facts."""
    return [example for task in ASKED for example in wiki.examples[task] if example.split != PROSE]


# Splits


def test_no_fact_is_in_two_splits_whatever_the_task(every):
    split_of: dict[tuple[str, str], str] = {}
    for example in every:
        for fact in example.facts:
            assert split_of.setdefault(fact, example.split) == example.split, example
    assert all(fact == tuple(sorted(fact)) for fact in split_of)  # a fact and its inverse have one key


def test_nearly_every_fact_is_asked_for(wiki, asked):
    covered = {fact for example in asked for fact in example.facts}
    facts = [fact_key(fact, wiki.links) for fact in facts_of(wiki.domains)]
    assert sum(fact in covered for fact in facts) >= 0.97 * len(facts)


def test_what_questions_tie_together_stays_together(asked):
    """Union–find against scipy's connected components."""
    row_of = {fact: row for row, fact in enumerate(dict.fromkeys(fact for q in asked for fact in q.facts))}
    ends = tuple(zip(*[(row_of[q.facts[0]], row_of[fact]) for q in asked for fact in q.facts], strict=True))
    graph = coo_matrix(([1] * len(ends[0]), ends), shape=(len(row_of), len(row_of)))
    _, component = connected_components(graph, directed=False)
    splits = defaultdict(set)
    for question in asked:
        splits[component[row_of[question.facts[0]]]].add(question.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) > 1000


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("ghi")), min_size=1, max_size=3), max_size=9))
def test_ties_are_an_equivalence(groups):
    ties, other_way = Ties(), Ties()
    for group in groups:
        ties.tie(group)
    for group in reversed(groups):
        other_way.tie(reversed(group))
    for group in groups:
        assert len({ties.last(key) for key in group}) == 1
    assert {key: ties.last(key) for group in groups for key in group} == {
        key: other_way.last(key) for group in groups for key in group
    }
    assert ties.sizes().total() == len({key for group in groups for key in group})


def test_what_follows_from_a_fact_shares_its_split(wiki):
    """Of the true rows: born in X and born in X's country, the highest mountain of a country, terms that join."""
    of, known = wiki.splits.of, {fact_key(fact, wiki.links) for fact in facts_of(wiki.domains)}
    chains = 0
    for domain in wiki.domains:
        for entity in domain.entities:
            names = [value.name for cell in entity.cells.values() for value in cell]
            for one in names:
                for other in names:
                    if one < other and pair(one, other) in known:
                        assert of(pair(entity.title, one)) == of(pair(entity.title, other)), (entity.title, one, other)
                        chains += 1
    assert chains > 100
    assert of(pair("John Adams", "1797")) == of(pair("George Washington", "1797"))
    assert of(pair("Kangchenjunga", "the highest mountain in India")) == of(pair("India", "Kangchenjunga"))


def test_entities_kept_apart_are_in_no_training_example(wiki, every):
    kept = wiki.splits.kept_apart
    assert Counter(kept.values())["dev"] > 60
    assert Counter(kept.values())["test"] > 60
    for example in every:
        if example.split == "train":
            assert not {name for key in example.facts for name in key} & kept.keys(), example
            assert normal(example.entity) not in kept


def test_the_marks_are_true(every):
    train = [example for example in every if example.split == "train"]
    seen = {name for example in train for key in example.facts for name in key}
    for example in every:
        held_out = example.split != "train"
        assert example.new_entity == (held_out and normal(example.entity) not in seen), example
        assert held_out or not example.new_phrasing


def test_new_phrasings_never_occur_in_training(wiki, asked):
    """Independently of how they were chosen: strip entity or value from a question, and what is left is in no training one."""
    frames = defaultdict(set)
    for example in asked:
        for fact in example.told[:1]:
            templates = fact.relation.inverse_questions if example.inverse else fact.relation.questions
            slot = "{value}" if example.inverse else "{entity}"
            fits = [t for t in templates if all(piece.lower() in example.text.lower() for piece in t.split(slot))]
            if len(fits) == 1:
                frames[fact.domain.name, fact.relation.name, fits[0]].add((example.split, example.new_phrasing))
    both = [key for key, uses in frames.items() if {("train", False), ("test", True)} <= uses or ("train", True) in uses]
    assert len(frames) > 500
    assert both == []


def test_phrasing_keeps_the_last_template_from_training():
    templates = ("a", "b", "last")
    train = {phrasing(templates, "train", str(i)) for i in range(60)}
    test = {phrasing(templates, "test", str(i)) for i in range(60)}
    assert train == {("a", False), ("b", False)}
    assert test == {("a", False), ("b", False), ("last", True)}


names = st.sampled_from([f"N{i}" for i in range(12)])


@settings(max_examples=25)
@given(st.dictionaries(names, st.tuples(names, st.sets(names, min_size=1, max_size=3)), min_size=1))
def test_no_table_puts_a_fact_into_two_splits(tmp_path_factory, table):
    rows = [
        f"{entity},,it,,{'' if capital == entity else capital},{';'.join(sorted(languages - {entity}))},,"
        for entity, (capital, languages) in table.items()
    ]
    facts = "\n".join(["entity,aliases,pronoun,the,capital,language,founded,people", *rows, ""])
    seen = defaultdict(set)
    for made in load(tmp_path_factory.mktemp("lands"), facts=facts).examples.values():
        for example in made:
            for fact in example.facts:
                seen[frozenset(fact)].add(example.split)
    assert all(len(splits) == 1 for splits in seen.values())


# Questions


def test_there_are_as_many_examples_as_promised(wiki):
    splits = {task: Counter(example.split for example in made) for task, made in wiki.examples.items()}
    open_questions = [splits[task] for task in (*ASKED, "triviaqa")]
    assert sum(counts["train"] for counts in open_questions) >= 12_000
    assert sum(counts["test"] for counts in open_questions) >= 1_000
    assert splits["nq"][PROSE] >= 600
    assert splits["fever"]["test"] + splits["fever"][PROSE] >= 1_500
    assert splits["jeopardy"]["test"] + splits["jeopardy"][PROSE] >= 500
    assert splits["msmarco"]["test"] + splits["msmarco"][PROSE] >= 500
    assert all(counts[split] > 0 for counts in splits.values() for split in SPLITS)
    for task, made in wiki.examples.items():
        if task != "msmarco":  # its questions are some of the others', to be answered in a sentence
            texts = Counter(example.text for example in made)
            assert [text for text, times in texts.items() if times > 1] == [], task


def test_ids_are_unique_within_a_task(wiki):
    for task, made in wiki.examples.items():
        assert len({example.id for example in made}) == len(made), task
    marco = [int(example.id, 16) % 10**9 for example in wiki.examples["msmarco"]]
    assert len(set(marco)) == len(marco)


def test_every_answer_can_be_found_and_none_is_given_away(wiki):
    """By has-answer, in a passage; for facts in one that tells the fact."""
    texts = {passage.id: passage.text for passage in wiki.passages}
    corpus = "\n".join(texts.values())
    for task in (*ASKED, "triviaqa", "jeopardy"):
        for example in wiki.examples[task]:
            telling = [texts[id] for place in wiki.all_places_of(example) for id in place.passages]
            assert telling, example
            found = any(has_answer(text, example.answers) for text in telling) or has_answer(corpus, example.answers)
            assert found, (task, example.text, example.answers)
            assert not any(contains(example.text, answer) for answer in example.answers), (task, example.text)
            assert example.text[:1].isupper() or not example.text[0].isalpha(), example.text
            assert example.text.endswith("." if task == "jeopardy" and example.split != PROSE else ("?", ".", "!")), (
                example.text
            )
            assert "{" not in example.text


def test_inverse_questions_have_few_answers_and_all_of_them(wiki, asked):
    entities = {domain.name: {normal(entity.name) for entity in domain.entities} for domain in wiki.domains}
    inverse = [question for question in asked if question.inverse]
    assert len(inverse) > 2000
    for question in inverse:
        assert 1 <= len(entities[question.domain] & {normal(answer) for answer in question.answers}) <= 4, question


def test_answers_hold_other_spellings_styles_and_aliases(tmp_path):
    made = load(tmp_path).examples
    asked = {(q.relations[0], q.inverse, q.facts): q.answers for task in ASKED for q in made[task]}
    ys = ("isles of ys", "ker is")
    assert asked["capital", False, (ys,)] == ("Kêr-Is", "Keris")
    assert asked["capital", True, (ys,)] == ("Isles of Ys", "Ys")
    two = (("atlantis", "punic"), ("isles of ys", "punic"))
    assert asked["language", True, two] == ("Atlantis", "Isles of Ys", "Ys")
    assert asked["people", False, (("9800", "lemuria"),)] == ("9800", "9,800")
    assert asked["founded", False, (("1200 bc", "atlantis"),)] == ("1200 BC", "1200 BCE")


# CuratedTREC's patterns


def test_a_pattern_matches_its_answer_and_not_the_distractors(wiki):
    """Of the same relation, all values that do not hold the answer as words."""
    values = defaultdict(set)
    for fact in facts_of(wiki.domains):
        values[fact.relation.name, False].add(fact.value.name)
        values[fact.relation.name, True].add(fact.entity.name)
    assert len(wiki.examples["curatedtrec"]) > 1000
    for example in wiki.examples["curatedtrec"]:
        pattern = re.compile(answer_pattern(example.answers), re.IGNORECASE)
        for answer in example.answers:
            assert pattern.search(f"It is {answer}, they say."), (example.text, answer)
        for other in values[example.relations[0], example.inverse]:
            if not any(contains(other, answer) for answer in example.answers):
                assert not pattern.search(f"({other})"), (example.text, other)


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1, max_size=4))
def test_a_pattern_is_a_regular_expression_for_any_answer(answers):
    pattern = re.compile(answer_pattern(answers))
    assert all(pattern.search(f" {answer} ") for answer in answers)
    assert not pattern.search("")


# Clues


def test_a_clue_has_one_answer_in_the_tables(wiki):
    for task in ("triviaqa", "jeopardy"):
        for example in wiki.examples[task]:
            if example.split == PROSE:
                continue
            entities = next(domain for domain in wiki.domains if domain.name == example.domain).entities
            wanted = {(fact.relation.name, fact.value.name) for fact in example.told}
            having = [
                entity.title
                for entity in entities
                if all(name in entity.cells and value in [v.name for v in entity.cells[name]] for name, value in wanted)
            ]
            assert having == [example.entity], example


def test_a_predicate_is_what_is_said_of_the_subject():
    assert fill_predicate("{entity} is a {value}.", "opera") == "is an opera"
    assert fill_predicate("{entity} flows past {value}.", "Washington, D.C.") == "flows past Washington, D.C."


# Claims


def test_claims_come_in_threes_with_the_same_values_and_phrasings(wiki):
    groups = defaultdict(Counter)
    values = defaultdict(Counter)
    for claim in wiki.examples["fever"]:
        if claim.split != PROSE:
            groups[claim.split, claim.domain, claim.relations][claim.answers[0]] += 1
            values[claim.split, claim.domain, claim.relations, claim.new_phrasing][claim.answers[0]] += 1
    for counts in (*groups.values(), *values.values()):
        assert len(counts) == 3
        assert len(set(counts.values())) == 1


def test_supported_and_refuted_claims_have_evidence_and_the_others_none(wiki):
    told = {(fact.entity.title, fact.relation.name): fact for fact in facts_of(wiki.domains)}
    for claim in wiki.examples["fever"]:
        places = wiki.evidence_of(claim)
        assert bool(places) == (claim.answers[0] != "NOT ENOUGH INFO"), claim
        if claim.split == PROSE:
            continue
        if claim.answers[0] == "NOT ENOUGH INFO":
            assert (claim.entity, claim.relations[0]) not in told or claim.domain != told[
                claim.entity, claim.relations[0]
            ].domain.name
        else:
            said = re.sub(re.escape(claim.told[0].entity.phrase), "…", claim.text, count=1, flags=re.IGNORECASE)
            symbol = claim.told[0].relation.value == "symbol"  # IN is not in
            ways = spellings(claim.told[0], wiki.links)
            true = [
                way for way in ways if (re.search(rf"(?<!\w){re.escape(way)}(?!\w)", said) if symbol else contains(said, way))
            ]
            assert bool(true) == (claim.answers[0] == "SUPPORTS"), claim


def test_withheld_facts_are_told_nowhere(wiki):
    assert len(wiki.withheld) > 300
    told = {(key[0], key[1], key[2]) for key in wiki.told}
    for cell in wiki.withheld:
        assert (cell.domain.name, cell.entity.title, cell.relation.name) not in told


def blind_accuracy(train: list[Example], test: list[Example]) -> float:
    """How often words and pairs of words alone give the label of a claim away to a classifier trained on other claims."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    words = CountVectorizer(ngram_range=(1, 2), binary=True)
    model = LogisticRegression(max_iter=800, C=0.3)
    model.fit(words.fit_transform([claim.text for claim in train]), [claim.answers[0] for claim in train])
    return model.score(words.transform([claim.text for claim in test]), [claim.answers[0] for claim in test])


def test_the_label_cannot_be_read_off_the_claim(wiki):
    """Chance is 0.33."""
    claims = wiki.by_split("fever")
    assert blind_accuracy(claims["train"], claims["test"]) < 0.40


def test_nor_off_a_claim_on_prose(wiki):
    """Trained on the claims of four articles in five, asked about the fifth, five times over."""
    claims = wiki.by_split("fever")[PROSE]
    articles = sorted({article.id for article in wiki.prose})
    article_of = {claim.claim: articles.index(article.id) for article in wiki.prose for claim in article.claims}
    scores = []
    for fold in range(5):
        held_out = [claim for claim in claims if article_of[claim.text] % 5 == fold]
        scores.append(blind_accuracy([claim for claim in claims if article_of[claim.text] % 5 != fold], held_out))
    assert sum(scores) / 5 < 0.42, scores


def test_a_telling_word_would_be_noticed(wiki):
    claims = [replace(c, text=f"{c.text} {c.answers[0][:2]}") for c in wiki.by_split("fever")["train"]]
    assert blind_accuracy(claims[::2], claims[1::2]) > 0.9


# Prose


def test_no_training_example_has_a_fact_that_a_prose_question_asks_for(wiki):
    """A training fact whose one name stands in the question or title and whose other name is the answer."""
    trained: dict[str, set[str]] = defaultdict(set)
    for task in wiki.examples:
        for example in wiki.examples[task]:
            if example.split == "train":
                for one, other in example.facts:
                    trained[one].add(other)
                    trained[other].add(one)
    shared = []
    for article in wiki.prose:
        for question in article.questions:
            for answer in question.answers:
                given = [
                    other
                    for other in trained.get(normal(answer), ())
                    if contains(f"{question.question} {article.title}", other)
                ]
                shared += [(article.id, question.question, answer, other) for other in given]
    assert shared == []


def test_prose_speaks_another_language_than_the_templates(wiki):
    """Few runs of four words of the prose stand in a rendered article, many fewer than rendered articles share."""

    def runs(texts: list[str]) -> set[tuple[str, ...]]:
        words = [[token for token in tokens(text) if token.isalnum()] for text in texts]
        return {tuple(each[i : i + 4]) for each in words for i in range(len(each) - 3)}

    prose = [page.article.text for page in wiki.pages if page.id.startswith("prose/")]
    rendered = [page.article.text for page in wiki.pages if not page.id.startswith("prose/")]
    ours, theirs = runs(prose), runs(rendered)
    half = runs(rendered[::2])
    assert len(ours & theirs) / len(ours) < 0.05
    assert len(half & runs(rendered[1::2])) / len(half) > 0.15


def test_there_is_as_much_prose_as_promised(wiki):
    assert len(wiki.prose) >= 120
    assert all(150 <= len(article.text.split()) <= 350 for article in wiki.prose)
    assert sum(bool(article.about) for article in wiki.prose) >= 40
    titles = {entity.title for domain in wiki.domains for entity in domain.entities}
    assert {name for article in wiki.prose for name in article.about} <= titles
