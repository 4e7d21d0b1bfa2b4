"""The ablations, on a MiniWiki of one domain and two steps of training."""

from dataclasses import replace

from minirag.corpus.miniwiki import MiniWiki
from minirag.evaluation.endtoend import ABLATIONS, CLOSED_BOOK, RAG
from minirag.evaluation.study import LEARNT_FROM, study
from minirag.retrieval.pretrained import mini_biencoder
from minirag.training.finetune import POCKET


def test_every_variant_is_measured_for_every_seed(wiki: MiniWiki, tmp_path) -> None:
    few = MiniWiki(wiki.domains[:1], wiki.prose[:1], wiki.offices[:2])
    encoder, short = mini_biencoder(dtype="float32"), replace(POCKET, batch=2, k=2, steps=1, warmup=0)
    rows = study(few, encoder, tmp_path, seeds=(4,), recipe=short, count=2, read=(1, 3), progress=False)
    names = {variant.name for variant in (*RAG, *ABLATIONS, CLOSED_BOOK)}
    for seed in (4,):
        own = {(row["task"], row["system"], row["metric"]): row for row in rows if row["seed"] == seed}
        assert {(task, name, "exact_match") for task in ("asked", "new", "prose") for name in names} <= own.keys()
        for variant in RAG:
            for what in ("1 read", "3 read", *(f"{k} in training" for k in LEARNT_FROM)):
                assert own["new", variant.name, f"exact_match, {what}"]["n"] == 2
            assert ("hot-swap", variant.name, "exact_match, index 2016, holders 2018") in own
            assert ("new", f"{variant.name} − closed book", "exact_match") in own
        assert own["new", "right passages", "recall"]["value"] == 1.0
        assert own["new", "closed book", "recall"]["value"] == 0.0
