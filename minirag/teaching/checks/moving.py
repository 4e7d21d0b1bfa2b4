"""Exercise of notebook 10: which parameters training moves."""

from __future__ import annotations

import numpy as np

from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _trained(names: list[str], retriever: str) -> list[str]:
    parts = ("generator.", "query_encoder.") if retriever == "learned" else ("generator.",)
    return [name for name in names if name.startswith(parts)]


_PARTS = (
    "query_encoder.words.weight",
    "query_encoder.layers.0.attention.query.weight",
    "query_encoder.layers.1.feed_forward.expand.bias",
    "passage_encoder.words.weight",
    "passage_encoder.layers.0.attention.query.weight",
    "passage_encoder.layers.1.feed_forward.expand.bias",
    "generator.words.weight",
    "generator.encoder.layers.0.attention.query.weight",
    "generator.encoder.layers.1.attention_norm.weight",
    "generator.decoder.layers.0.cross.query.weight",
    "generator.decoder.layers.1.feed_forward.contract.bias",
    "index.vectors",
)
_FEW = [_PARTS[i] for i in (1, 4, 6, 7, 9, 11)]
_GENERATOR = [_PARTS[i] for i in (6, 7, 9)]


def _some_names(rng: np.random.Generator, size: int) -> Args:
    names = [_PARTS[i] for i in rng.permutation(len(_PARTS))[: 1 + size // 2]]
    return names, ("learned", "frozen", "bm25")[size % 3]


check_trained_parameters = Exercise(
    number="10.4",
    name="trained_parameters",
    title="Which parameters move",
    stars=1,
    minutes=8,
    points=3,
    reference=_trained,
    by_hand=(
        ((_FEW, "learned"), [_PARTS[1], *_GENERATOR]),
        ((_FEW, "frozen"), _GENERATOR),
        ((_FEW, "bm25"), _GENERATOR),
        ((["generator.words.weight", "query_encoder.words.weight"], "learned"), [_PARTS[6], _PARTS[0]]),
    ),
    draw=_some_names,
    mistakes=(
        Mistake(
            "the passage encoder too",
            "If the passage encoder moved, all 21 million vectors of the index would be out of date after one step: it stays "
            "still.",
            lambda names, retriever: [
                name
                for name in names
                if name.startswith("generator.") or (name.split(".")[0].endswith("_encoder") and retriever == "learned")
            ],
        ),
        Mistake(
            "the index too",
            "The vectors of the index are no parameters: they were computed once, and stay what they are.",
            lambda names, retriever: [name for name in names if name in _trained(names, retriever) or name == "index.vectors"],
        ),
        Mistake(
            "the retriever always",
            "A retriever that is frozen, or is BM25, has nothing that learns: the generator learns alone.",
            lambda names, retriever: _trained(names, "learned"),
        ),
        Mistake(
            "the generator held still",
            "The generator learns in every variant: it has to learn to read what is found.",
            lambda names, retriever: [name for name in _trained(names, retriever) if name.startswith("query_encoder.")],
        ),
        Mistake(
            "the decoder alone",
            "BART's encoder reads the passages and learns as well: all of the generator's parameters move.",
            lambda names, retriever: [
                name for name in _trained(names, retriever) if not name.startswith(("generator.encoder.", "generator.words."))
            ],
        ),
        Mistake(
            "a word anywhere in the name",
            "Every attention has a matrix called query, the passage encoder's too. Look at how a name begins.",
            lambda names, retriever: [
                name for name in names if name.startswith("generator.") or (retriever == "learned" and "query" in name)
            ],
        ),
        Mistake(
            "everything called encoder left out",
            "The query encoder and BART's own encoder learn; only the *passage* encoder stays still. Look at how a name "
            "begins.",
            lambda names, retriever: [name for name in names if "encoder" not in name and name != "index.vectors"],
        ),
        Mistake(
            "another order",
            "The names are asked for in the order in which they were given.",
            lambda names, retriever: sorted(_trained(names, retriever)),
        ),
    ),
    hint="A parameter's first name says where it belongs: query_encoder, passage_encoder, generator or index.",
)
