"""The mini checkpoints: they learn from nothing that tests ask, training learns and goes on, and what ships is whole."""

import random
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.facts import load_domains, normal
from minirag.corpus.miniwiki.worlds import Tellable, World
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.evaluation.minis import answers, distractors, question_sets, reading, retrieval, telling
from minirag.files import read_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import load_bart
from minirag.models.bert import Bert, BertConfig
from minirag.models.weights import check_seal
from minirag.paths import data_dir
from minirag.rag.checkpoints import reader
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.pretrained import mini_biencoder
from minirag.training import minis as training
from minirag.training.dpr import InBatch, average_rank
from minirag.training.finding import QUESTIONS, Finding, Told, examples_of, told
from minirag.training.loop import read_log
from minirag.training.minis import Minis, Sizes, texts_of
from minirag.training.settings import Settings
from minirag.training.starts import counting_words, grown, started
from minirag.training.tokenizer import make_tokenizer

CHECKPOINTS = data_dir() / "checkpoints"
SHORT = Settings(steps=60, rate=3e-3, warmup=10, save_every=25, log_every=10)
SMALL = Sizes(
    vocab_size=600,
    dim=32,
    layers=1,
    heads=2,
    encoder_dim=64,
    encoder_heads=2,
    words=replace(SHORT, steps=200, rate=1e-2),
    finding=SHORT,
    word_pairs=32,
    denoising=SHORT,
    together=replace(SHORT, matrix_rate=3e-3),
    reading=replace(SHORT, matrix_rate=3e-3),
    pairs=16,
    texts=8,
    passages=4,
    questions=4,
)


@pytest.fixture(scope="module")
def few() -> MiniWiki:
    """Two domains of MiniWiki, which links between them are lost."""
    return MiniWiki([domain for domain in load_domains() if domain.name in ("rivers", "composers")], [], [])


@pytest.fixture(scope="module")
def found(few: MiniWiki, tmp_path_factory: pytest.TempPathFactory) -> tuple[Minis, BiEncoder]:
    torch.set_num_threads(1)
    minis = Minis(few, SMALL, tmp_path_factory.mktemp("minis"), progress=False)
    return minis, minis.bi_encoder()


def asked(wiki: MiniWiki, split: str) -> list[Told]:
    return [told(example, wiki.all_places_of(example)) for example in examples_of(wiki, split)]


def test_a_bi_encoder_learns_to_find_passages_for_questions_of_entities_it_was_never_asked_about(
    few: MiniWiki, found: tuple[Minis, BiEncoder]
) -> None:
    minis, encoder = found
    torch.manual_seed(0)
    config = replace(encoder.query_encoder.config, layers=0)
    start = counting_words(Bert(config), minis.tokenizer, few.passages)
    beginner = BiEncoder(start, start, minis.tokenizer, "mean", normalize=True, template="pair", max_length=320)
    draw = Finding(few, 32, seed=9)

    @torch.no_grad()
    def loss(one: BiEncoder) -> float:
        return sum(float(InBatch(one, 20.0)(draw(step))[0]) for step in range(8)) / (8 * 32)

    assert loss(encoder) < 0.8 * loss(beginner)
    new = [example for example in examples_of(few, "test") if example.new_entity]
    assert len(new) > 20
    vectors = encoder.encode_passages(few.passages)
    top = (encoder.encode_queries([example.text for example in new]) @ vectors.T).topk(5).indices.tolist()
    right = [
        any(few.passages[row].id in {id for place in few.all_places_of(example) for id in place.passages} for row in rows)
        for example, rows in zip(new, top, strict=True)
    ]
    assert sum(right) / len(new) > 0.3  # by chance it would be one in ten
    assert len(few.passages) > 100


def test_training_twice_gives_the_same_bi_encoder_and_a_finished_run_is_left_as_it_is(
    few: MiniWiki, found: tuple[Minis, BiEncoder], tmp_path
) -> None:
    minis, encoder = found
    again = Minis(few, SMALL, tmp_path, progress=False).bi_encoder()
    assert_close(again.query_encoder.state_dict(), encoder.query_encoder.state_dict(), rtol=0, atol=0)
    before = (minis.work / "bi-encoder" / "state.safetensors").stat().st_mtime_ns
    loaded = minis.bi_encoder()
    assert_close(loaded.query_encoder.state_dict(), encoder.query_encoder.state_dict(), rtol=0, atol=0)
    assert (minis.work / "bi-encoder" / "state.safetensors").stat().st_mtime_ns == before


def test_a_bart_learns_to_restore_text_and_then_to_answer(few: MiniWiki, tmp_path) -> None:
    torch.set_num_threads(1)
    minis = Minis(few, SMALL, tmp_path, progress=False)
    torch.manual_seed(0)
    bert = Bert(BertConfig(len(minis.tokenizer), 32, 0, 2, 64, SMALL.positions))
    bart = minis.bart(BiEncoder(bert, bert, minis.tokenizer))
    before = {name: tensor.clone() for name, tensor in bart.state_dict().items()}
    assert minis.reader(bart) is bart  # it goes on with the same network
    assert any(not torch.equal(tensor, before[name]) for name, tensor in bart.state_dict().items())
    for name, fall in (("bart", 0.5), ("reader-together", 0.5), ("reader", 0.0)):
        losses = [row["loss"] for row in read_log(tmp_path / name)]
        assert losses[-1] < losses[0] - fall


def test_no_question_of_a_dev_or_test_set_is_learnt_from_nor_its_fact(wiki: MiniWiki) -> None:
    held = {example.text for task in wiki.examples for example in wiki.examples[task] if example.split != "train"}
    facts = {key for task in QUESTIONS for example in wiki.examples[task] if example.split != "train" for key in example.facts}
    assert len(asked(wiki, "train")) == 22_729
    assert held.isdisjoint(one.question for one in asked(wiki, "train"))
    assert held.isdisjoint(texts_of(wiki))
    assert facts.isdisjoint(key for example in examples_of(wiki, "train") for key in example.facts)


def test_what_a_step_draws_depends_on_its_number_alone(few: MiniWiki) -> None:
    one, two = Finding(few, 8, seed=3), Finding(few, 8, seed=3)
    assert one(5) == [two(step) for step in (9, 1, 5)][-1]
    assert one(5) != one(6)
    assert Finding(few, 8, seed=4)(5) != one(5)


def test_a_pair_holds_a_question_and_a_passage_of_its_own(few: MiniWiki) -> None:
    whole = {passage.id: passage for passage in few.passages}
    texts = {one.question: one for one in asked(few, "train")}
    draw, questions = Finding(few, 64, fragments=0.5, untrue=0.0), 0
    for step in (2, 3):  # pieces of passages, and whole ones
        for pair in draw(step):
            assert pair.positive.title == whole[pair.positive.id].title
            if pair.question in texts:
                questions += 1
                assert pair.positive.id in texts[pair.question].right == pair.right
                if step == 3:
                    assert pair.positive == whole[pair.positive.id]
            else:
                said = f"{whole[pair.positive.id].title} {whole[pair.positive.id].text}"
                assert set(pair.question.split()) <= set(said.split())
    assert 32 < questions < 96


def test_a_batch_of_one_domain_holds_no_other(few: MiniWiki) -> None:
    domain_of = {entity.title: domain.name for domain in few.domains for entity in domain.entities}
    alike, mixed = (Finding(few, 32, untrue=0.0, alike=share) for share in (1.0, 0.0))
    drawn = [{domain_of.get(pair.positive.title) for pair in alike(step)} - {None} for step in range(12)]  # None: an overview
    assert {len(domains) for domains in drawn} == {1}
    assert set.union(*drawn) == {"rivers", "composers"}
    assert {domain_of.get(pair.positive.title) for pair in mixed(0)} >= {"rivers", "composers"}


def test_in_a_world_pairs_tell_what_is_not_true_and_ask_nothing_that_is_held_out(few: MiniWiki) -> None:
    held = {example.text for made in few.examples.values() for example in made if example.split != "train"}
    facts = {key for example in examples_of(few, "test") for key in example.facts}
    draw = Finding(few, 32, seed=1, renewed=2, untrue=1.0, fragments=0.0)
    own, untrue = {passage.text for passage in few.passages}, 0
    for step in (3, 7):  # of two worlds
        world = World(Tellable.of(few), f"1 world {step // 2}")
        known = {example.text: example for example in world.examples}
        for pair in draw(step):
            assert pair.question in known
            assert pair.question not in held
            assert facts.isdisjoint(known[pair.question].facts)
            assert pair.positive == world.wiki.passages[int(pair.positive.id) - 1]
            assert pair.positive.id in pair.right
            assert pair.positive.id in {id for place in world.places(known[pair.question]) for id in place.passages}
            untrue += pair.positive.text not in own
    assert untrue > 48


def test_at_first_a_bi_encoder_counts_words_and_rare_ones_more() -> None:
    names = [f"{one}{two}{three}" for one in ("ba", "ko", "ri", "tu") for two in ("me", "so") for three in "flnprs"][:40]
    passages = [Passage(str(i), name, f"the word of the {name}") for i, name in enumerate(names)]
    tokenizer = make_tokenizer([f"{z.title} {z.text}" for z in passages] * 5, 600)
    torch.manual_seed(0)
    config = BertConfig(len(tokenizer), 64, 0, 2, 128, 64, dropout=0.0, pad_id=tokenizer.pad_token_id)
    bert = counting_words(Bert(config), tokenizer, passages)
    common, rare = tokenizer.convert_tokens_to_ids(["Ġthe", "Ġbamef"])
    assert rare != tokenizer.unk_token_id != common
    shared = bert.words.weight[common]
    others = bert.words.weight[tokenizer.convert_tokens_to_ids("Ġword")]
    assert torch.allclose(shared, others)  # of what every passage holds nothing is left but what all tokens share
    assert not torch.allclose(bert.words.weight[rare], shared)
    encoder = BiEncoder(bert.eval(), bert, tokenizer, "mean", normalize=True, template="pair", max_length=64)
    vectors = encoder.encode_passages(passages)
    found = (encoder.encode_queries([f"the word {name}" for name in names]) @ vectors.T).argmax(1)
    assert (found == torch.arange(40)).float().mean() > 0.8
    with pytest.raises(MiniragError, match="without layers, and this one has 1"):
        counting_words(Bert(replace(config, layers=1)), tokenizer, passages)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_bert_that_has_grown_computes_what_it_did_and_its_layers_can_learn(layers: int) -> None:
    torch.manual_seed(0)
    config = BertConfig(30, 16, 0, 2, 32, 12, dropout=0.0)
    small = Bert(config).double()
    with torch.no_grad():
        for weights in small.parameters():  # also the norm's scale and shift
            weights.copy_(torch.randn_like(weights))
    tall = grown(small, layers).double()
    ids = torch.randint(30, (4, 12))
    assert_close(tall(ids, ids >= 0), small(ids, ids >= 0), rtol=1e-9, atol=1e-9)
    tall(ids, ids >= 0).square().sum().backward()
    for layer in tall.layers:
        assert layer.attention.output.weight.grad.abs().max() > 1e-3
        assert layer.feed_forward.contract.weight.grad.abs().max() > 1e-3
    with pytest.raises(MiniragError, match=f"this one has {layers}"):
        grown(tall, 1)


def test_a_narrow_bart_starts_with_wider_weights_and_positions_on_circles() -> None:
    torch.manual_seed(0)
    bart = Bart(BartConfig(30, 16, 1, 1, 2, 2, 32, 32, positions=12))
    torch.manual_seed(0)
    wide = started(Bart(bart.config))
    assert_close(wide.words.weight, 4 * bart.words.weight)
    table = wide.encoder.positions.weight
    assert_close(table.norm(dim=1), torch.full((14,), 0.11 * 8**0.5))
    turns = [(table[i] @ table[i + 1]).item() for i in range(13)]
    assert max(turns) - min(turns) < 1e-5  # the next position is as far everywhere


def test_a_bart_starts_with_the_words_of_another_network_in_fewer_dimensions() -> None:
    torch.manual_seed(0)
    plane = torch.randn(30, 2) @ torch.randn(2, 40) + 5  # vectors that differ in two directions of 40
    bart = started(Bart(BartConfig(30, 16, 1, 1, 2, 2, 32, 32, positions=12)), plane)
    words = bart.words.weight.detach()
    assert_close(words.std(), torch.tensor(0.08), rtol=0.1, atol=0)
    before, after = torch.cdist(plane, plane), torch.cdist(words, words)
    assert_close(after / after.max(), before / before.max(), rtol=1e-3, atol=1e-3)  # distances are kept, but for the scale
    assert words.std(0).min() > 0.1 * words.std(0).max()  # turned: no dimension is empty


def test_what_ships_is_whole_small_and_says_how_it_was_made() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINTS.rglob("*") if file.is_file()) < 40_000_000
    for name in ("biencoder", "bart", "reader"):
        check_seal(CHECKPOINTS / name)
        for log in {"training.json", "words.json", "together.json"} & {file.name for file in (CHECKPOINTS / name).iterdir()}:
            made = read_json(CHECKPOINTS / name / log)
            assert made["log"][-1]["step"] == made["settings"]["steps"]
    bart, tokenizer = load_bart(CHECKPOINTS / "bart")
    assert len(tokenizer) == bart.config.vocab_size
    other = reader().generator
    assert isinstance(other, type(bart))
    assert bart.config == other.config
    assert not torch.equal(bart.words.weight, other.words.weight)


def test_the_shipped_bi_encoder_finds_what_was_never_asked(wiki: MiniWiki) -> None:
    encoder = mini_biencoder()
    new = [example for example in examples_of(wiki, "test") if example.new_entity]
    some = random.Random(0).sample(new, 200)
    vectors = encoder.encode_passages(wiki.passages)
    top = (encoder.encode_queries([example.text for example in some]) @ vectors.T).topk(5).indices.tolist()
    right = sum(
        any(wiki.passages[row].id in {id for place in wiki.all_places_of(example) for id in place.passages} for row in rows)
        for example, rows in zip(some, top, strict=True)
    )
    assert right / len(some) > 0.7


def test_the_shipped_reader_reads(wiki: MiniWiki) -> None:
    results = {(r.task, r.system, r.metric): r for r in reading(reader(), wiki, count=24, progress=False)}
    assert results["triviaqa/test", "gold", "exact_match"].value > 0.3
    assert results["triviaqa/test", "gold", "copied"].value > 0.6
    assert {system for _, system, _ in results} == {"gold", "gold and 4 others"}
    assert {task for task, *_ in results} == {f"{task}/test" for task in QUESTIONS} | {"nq/prose"}


def test_distractors_hold_no_answer_and_gold_does(few: MiniWiki) -> None:
    words = BM25Index()
    words.add(few.passages)
    examples = few.by_split("nq")["test"][:20]
    told = [one for example in examples if (one := telling(few, example)) is not None]
    assert len(told) > 10
    for (example, gold), others in zip(told, distractors(few, words, [example for example, _ in told]), strict=True):
        assert len(others) == 4
        assert any(normal(answer) in normal(gold.text) for answer in example.answers)
        assert not any(f" {answer} " in f" {z.text} " for answer in example.answers for z in others)


def test_every_question_set_is_measured_with_every_system(few: MiniWiki, found: tuple[Minis, BiEncoder]) -> None:
    results = retrieval(few, {"mini": found[1]}, progress=False)
    assert {r.system for r in results} == {"random", "BM25", "mini, exact", "mini, IVF"}
    sizes = {each.name: len(each.questions) for each in question_sets(few)}
    assert {r.task: r.n for r in results} == sizes
    assert sizes["facts/test"] == sum(sizes[f"{task}/test"] for task in QUESTIONS if f"{task}/test" in sizes)
    of = {(r.task, r.system, r.metric): r.value for r in results}
    assert of["facts/test", "BM25", "recall@5"] > of["facts/test", "random", "recall@5"]


def test_fewer_distractors_than_four_are_given_no_weight(few: MiniWiki) -> None:
    model = reader()
    told = [one for example in few.by_split("nq")["test"][:6] if (one := telling(few, example)) is not None]
    alone = answers(model, told, [[]] * len(told), "alone", progress=False)
    mixed = [[], *[[told[0][1]]] * (len(told) - 1)]
    assert answers(model, told, mixed, "mixed", progress=False)[0] == alone[0]


def test_average_rank_falls_while_a_bi_encoder_learns(few: MiniWiki, found: tuple[Minis, BiEncoder]) -> None:
    minis, encoder = found
    torch.manual_seed(0)
    config = encoder.query_encoder.config
    fresh = Bert(config).eval()
    held_out = [pair for step in range(4, 8) for pair in Finding(few, 16, seed=9)(step)]
    untrained = BiEncoder(fresh, fresh, minis.tokenizer, "mean", normalize=True, template="pair")
    assert average_rank(encoder, held_out) < 0.7 * average_rank(untrained, held_out)


def test_the_runs_are_told_apart_by_their_folders(tmp_path, few: MiniWiki, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(training, "train", lambda objective, draw, settings, folder, **_: made.append((folder.name, settings)))
    minis = Minis(few, SMALL, tmp_path, progress=False)
    minis.reader(minis.bart(minis.bi_encoder()))
    assert made == [
        ("bi-encoder-words", SMALL.words),
        ("bi-encoder", SMALL.finding),
        ("bart", SMALL.denoising),
        ("reader-together", SMALL.together),
        ("reader", SMALL.reading),
    ]
