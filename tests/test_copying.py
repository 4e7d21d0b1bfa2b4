"""Natural language read with few questions: what is drawn, the loss, gaps, spelling, and a BART that begins as a BERT."""

import math
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rag_cases import random_bart
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.models.bert import Bert, BertConfig
from minirag.models.transformer import DecoderLayer
from minirag.rag.contexts import Contexts
from minirag.rag.spelling import Spelling
from minirag.training.copying import Copying, Extract, Extracts, Told, around
from minirag.training.gaps import FEWEST, SALIENT, gap, gaps
from minirag.training.loop import train
from minirag.training.settings import Settings
from minirag.training.starts import from_bert, writing_what_it_sees

TEXT = "Ada Lovelace lived in London. She met Charles Babbage in 1833. He built engines. Beyoncé won 24–10 there."
MASK = "[MASK]"


def word_pieces(words: str) -> Any:
    """BERT's tokenizer, lower case and without accents, over some words and all their letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789./–?-,"))
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK, *letters, *(f"##{one}" for one in letters)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*known, *words.lower().split()]))}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return word_pieces("ada lovelace lived in london she met charles babbage he built engines who whom did meet")


@pytest.fixture(scope="module")
def contexts(tokenizer: Any) -> Contexts:
    return Contexts(tokenizer, 100)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


# What is drawn.


def test_an_extract_by_hand(tokenizer: Any, contexts: Contexts) -> None:
    told = Told("Whom did she meet?", "Charles Babbage", Passage("7", "Ada", TEXT))
    (one,) = Extracts([told], contexts, batch=1, words=1)(0)
    whole = "[CLS] Ada / She met Charles Babbage in 1833. // Whom did she meet? [SEP]"
    assert list(one.source) == ids_of(tokenizer, whole)
    assert tokenizer.decode(one.target) == "[CLS] charles babbage [SEP]"
    assert one.source[one.begins : one.begins + 2] == one.target[1:-1]
    assert contexts.of(["Whom did she meet?"], [[Passage("", "Ada", "She met Charles Babbage in 1833.")]])[0][
        0, 0
    ].tolist() == list(one.source)


def test_without_a_passage_there_is_the_question_alone(contexts: Contexts) -> None:
    (one,) = Extracts([Told("Who met her?", "Charles Babbage")], contexts, batch=1)(0)
    assert one.begins == -1
    assert contexts.of(["Who met her?"], [[Passage("", "", "")]])[0][0, 0].tolist() == list(one.source)


def test_an_answer_that_is_cut_off_stands_nowhere(tokenizer: Any) -> None:
    told = Told("Whom did she meet?", "Charles Babbage", Passage("7", "Ada", TEXT))
    for length in range(10, 20):
        (one,) = Extracts([told], Contexts(tokenizer, length), batch=1, words=1)(0)
        assert len(one.source) <= length
        assert one.begins == -1 or one.source[one.begins : one.begins + 2] == one.target[1:-1]
    (one,) = Extracts([told], Contexts(tokenizer, 12), batch=1, words=1)(0)
    assert one.begins == -1


def test_the_same_step_draws_the_same(contexts: Contexts) -> None:
    told = [Told("Who?", answer, Passage("7", "Ada", TEXT)) for answer in ("London", "1833", "engines", "Beyoncé")]
    draw, again = (Extracts(told, contexts, batch=2, words=10, seed=3) for _ in range(2))
    assert [draw(step) for step in (0, 5, 2)] == [again(step) for step in (0, 5, 2)]
    assert {one.text for step in (0, 1) for one in draw(step)} == {f"Who? {one.answer}" for one in told}


words = st.lists(st.sampled_from(["Ada", "met", "1833", "him", "There", "it's"]), min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.lists(words, min_size=1, max_size=6), st.integers(0, 40), st.randoms(use_true_random=False), st.data())
def test_around_is_whole_sentences_with_the_answer(
    some: list[list[str]], least: int, chance: Random, data: st.DataObject
) -> None:
    text = " ".join(" ".join(one) + "." for one in some)
    answer = data.draw(st.sampled_from([word for one in some for word in one]))
    found = around(text, answer, least, chance)
    assert found in text
    assert answer.lower() in found.lower()
    own = sentences(text)
    runs = {" ".join(own[i:j]) for i in range(len(own)) for j in range(i + 1, len(own) + 1)}
    assert found in runs
    assert len(found.split()) >= min(least, len(text.split()))


def test_an_answer_over_two_sentences_is_kept_whole() -> None:
    assert around("One. He met J. Smith. Three.", "met J. Smith", 1, Random(0)) == "He met J. Smith."


def test_blanks_of_any_kind_are_one() -> None:
    assert around("One  two.\nHe met\u00a0 J.  Smith. Three.", "met J. \n Smith", 1, Random(0)) == "He met J. Smith."


def test_an_answer_that_is_not_there_is_named() -> None:
    with pytest.raises(MiniragError, match="'Paris' does not stand in its passage"):
        around(TEXT, "Paris", 5, Random(0))


# The objective.


def by_hand(copying: Copying, one: Extract) -> torch.Tensor:
    """The loss of one example, token by token, without padding and batch."""
    bart = copying.bart
    ids = torch.tensor([one.source])
    encoded = bart.encode(ids, torch.ones_like(ids))  # [1, S, D]
    documents = bart.documents(encoded, None)
    given = torch.tensor([[bart.config.start_id, *one.target[:-1]]])
    asked: list[torch.Tensor] = []
    layer = bart.decoder.layers[-1]
    assert isinstance(layer, DecoderLayer)
    hook = layer.cross.query.register_forward_hook(lambda _, __, out: asked.append(out))
    logits = bart.logits(documents, given)[0]  # [T, V]
    hook.remove()
    loss = F.cross_entropy(logits, torch.tensor(one.target), reduction="sum")
    if one.begins < 0:
        return loss
    heads, d = layer.cross.heads, bart.config.dim // layer.cross.heads
    keys = layer.cross.key(encoded)[0].view(-1, heads, d)  # [S, H, d]
    for step in range(len(one.target) - 2):
        query = asked[0][0, 1 + step].view(heads, d)
        weights = torch.stack([(keys[:, h] @ query[h] / math.sqrt(d)).softmax(0) for h in range(heads)]).mean(0)  # [S]
        loss = loss - copying.pointing * torch.log(weights[one.begins + step] + 1e-6)
    marks = copying.marks(encoded)[0].log_softmax(0)  # [S, 2]
    last = one.begins + len(one.target) - 3
    return loss - copying.marking * (marks[one.begins, 0] + marks[last, 1])


def test_the_loss_by_hand() -> None:
    copying = Copying(random_bart(40), pointing=2.0, marking=3.0).double()
    examples = [
        Extract((0, 5, 6, 7, 2), (0, 6, 7, 2), 2),
        Extract((0, 9, 8, 30, 11, 12, 13, 2), (0, 30, 2), 3),
        Extract((0, 9, 8, 2), (0, 17, 18, 19, 2), -1),
    ]
    loss, tokens = copying(examples)
    assert tokens == 4 + 3 + 5
    assert_close(loss, sum(by_hand(copying, one) for one in examples))
    alone, _ = copying(examples[2:])  # nothing to point at
    assert_close(alone, by_hand(copying, examples[2]))


def test_it_learns_to_copy(tmp_path: Any) -> None:
    """Words after a sign are to be copied, others each time."""

    def draw(step: int) -> list[Extract]:
        chance = Random(step)
        examples = []
        for _ in range(16):
            passage = chance.sample(range(5, 40), 6)
            at = chance.randrange(1, 6)
            source = (0, *passage[:at], 4, *passage[at:], 2)
            examples.append(Extract(source, (0, passage[at], 2), at + 2))
        return examples

    torch.manual_seed(0)
    copying = Copying(random_bart(40, spread=0.1))
    log = train(copying, draw, Settings(steps=400, rate=1e-2, warmup=10, log_every=10), tmp_path / "run", progress=False)
    assert log[-1]["loss"] < 0.3 < 2 < log[0]["loss"]
    asked = draw(1_000)
    sources = torch.tensor([one.source for one in asked])
    with torch.no_grad():
        documents = copying.bart.eval().read(sources, torch.ones_like(sources))
        said = copying.bart.logits(documents, torch.tensor([[2, 0]] * 16))[:, -1].argmax(-1)
    assert sum(a == one.target[1] for a, one in zip(said.tolist(), asked, strict=True)) >= 14


# Gaps.


def test_salient_spans_by_hand() -> None:
    assert [match[0] for match in SALIENT.finditer("In 1,833 men and 24–10% of Los Angeles met Bank of England clerks.")] == [
        "In",
        "1,833 men",
        "24–10%",
        "Los Angeles",
        "Bank of England",
        "clerks",
    ]


@settings(max_examples=60)
@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.just(TEXT), st.randoms(use_true_random=False))
def test_a_gap_is_filled_by_its_answer(sentence: str, chance: Random) -> None:
    found = gap(sentence, "\x00", chance)
    if found is not None and "\x00" not in sentence:
        question, answer = found
        assert question.replace("\x00", answer) == sentence
        assert not question.startswith("\x00")
        assert len(question.split()) > FEWEST


def test_gaps_of_every_sentence_and_each_once() -> None:
    passages = [Passage("1", "A", TEXT * 1), Passage("2", "B", "No. It met nobody in all of those 1800 years.")]
    found = list(gaps(passages, MASK, times=9))
    assert len(found) == len(set(found))
    assert all(one.passage is None and one.question.count(MASK) == 1 for one in found)
    own = [sentence for z in passages for sentence in sentences(z.text)]
    assert {one.question.replace(MASK, one.answer) for one in found} <= set(own)
    assert found == list(gaps(passages, MASK, times=9))
    assert found != list(gaps(passages, MASK, times=9, seed=1))


# Spelling.


def test_an_answer_as_the_passages_write_it(tokenizer: Any) -> None:
    spelling = Spelling(tokenizer, ["He met Zoë.", TEXT, "she met CHARLES babbage"])
    for plain, written in (
        ("beyonce", "Beyoncé"),
        ("24 – 10", "24–10"),
        ("charles babbage", "Charles Babbage"),
        ("zoe", "Zoë"),
    ):
        assert spelling(ids_of(tokenizer, plain)) == written
    assert spelling(ids_of(tokenizer, "babbage charles")) is None
    assert spelling(ids_of(tokenizer, "there. he met")) is None  # not over the end of a text
    assert spelling(ids_of(tokenizer, "zoe. ada")) is None
    assert spelling([]) is None
    assert Spelling(tokenizer, [])(ids_of(tokenizer, "ada")) is None


@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from("aÁé .–1X"), min_size=1, max_size=12), min_size=1, max_size=4), st.data())
def test_every_piece_is_found(tokenizer: Any, texts: list[str], data: st.DataObject) -> None:
    spelling = Spelling(tokenizer, texts)
    text = data.draw(st.sampled_from(texts))
    ids = ids_of(tokenizer, text)
    if ids:
        i, j = sorted((data.draw(st.integers(0, len(ids) - 1)), data.draw(st.integers(0, len(ids) - 1))))
        found = spelling(ids[i : j + 1])
        assert found is not None
        assert any(found in each for each in texts)
        assert "".join(tokenizer.convert_ids_to_tokens(ids[i : j + 1])).replace("#", "") == "".join(
            tokenizer.convert_ids_to_tokens(ids_of(tokenizer, found))
        ).replace("#", "")


# A BART that begins as a BERT.


def shaken_bert(layers: int = 4) -> Bert:
    torch.manual_seed(1)
    bert = Bert(BertConfig(30, 16, layers, 4, 24, positions=12, norm_eps=1e-5))
    with torch.no_grad():
        for weight in bert.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return bert.eval()


class Frame:
    cls_token_id, sep_token_id = 2, 3


@pytest.mark.parametrize(("decoder_layers", "taken"), [(1, [3]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])])
def test_the_encoder_computes_what_bert_does(decoder_layers: int, taken: list[int]) -> None:
    bert = shaken_bert()
    bart = from_bert(bert, Frame(), decoder_layers).eval()
    ids = torch.tensor([[2, 5, 7, 3], [2, 6, 3, 0]])
    mask = ids != 0
    assert_close(bart.encode(ids, mask)[mask], bert(ids, mask)[mask])
    assert (bart.config.bos_id, bart.config.eos_id, bart.config.start_id, bart.config.pad_id) == (2, 3, 3, 0)
    for layer, number in zip(bart.decoder.layers, taken, strict=True):
        for name, weight in bert.layers[number].state_dict().items():
            assert torch.equal(layer.state_dict()[name], weight)
        assert isinstance(layer, DecoderLayer)
        assert torch.equal(layer.cross.key.weight, layer.attention.key.weight)
        assert layer.cross.key.weight is not layer.attention.key.weight
    assert isinstance(bart, Bart)


def test_what_it_sees_it_writes(tokenizer: Any) -> None:
    """Where attention has no choice but one token of a document, that token is written, and before it seldom was."""
    torch.manual_seed(2)
    bert = Bert(BertConfig(len(tokenizer), 48, 2, 4, 32, positions=64, dropout=0.0))
    bart = from_bert(bert, tokenizer, 2, dropout=0.1).train()
    known = ids_of(tokenizer, "ada lovelace lived in london she met charles babbage he built engines who whom did meet")
    sources, start = torch.tensor([[2, 89, one, 90, 3] for one in known]), torch.full((len(known), 1), 3)

    def written(bart: Bart) -> int:
        with torch.no_grad():
            encoded = bart.eval().encode(sources, torch.ones_like(sources))
            documents = bart.documents(encoded, (torch.arange(5) == 2)[None, None, None].expand(len(known), -1, -1, -1))
            said = bart.logits(documents, start)[:, 0].argmax(-1)
        return int((said == sources[:, 2]).sum())

    before = written(bart)
    passages = [
        Passage("", "Ada", " ".join(Random(i).sample([*TEXT.split(), "engines", "who", "whom", "did", "meet"], 9)))
        for i in range(60)
    ]
    assert writing_what_it_sees(bart.train(), tokenizer, passages) is bart
    assert bart.training
    assert 3 * before < written(bart) >= len(known) // 2
