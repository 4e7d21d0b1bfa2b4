"""A claim head (appendix E) on disk: the folder of its model, as `checkpoints.py` writes it, with two files more.

generator/  encoder/  rag.json        the model, which is opened without the head as ever
head.json  head.safetensors           the head's labels and dropout, and its weights
checksums.json                        of all of them
"""

import json
from pathlib import Path

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, write_json
from minirag.models.weights import check_seal, fill, is_sealed, seal
from minirag.rag.checkpoints import from_pretrained, save_pretrained
from minirag.rag.classify import ClaimHead
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder

FORMAT = "minirag claim head 1"
SETTINGS, WEIGHTS = "head.json", "head.safetensors"


def save_head(head: ClaimHead, folder: str | Path) -> None:
    """Write model and head as one folder with checksums, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_folder(folder, is_sealed) as temporary:
        save_pretrained(head.model, temporary / "model")
        for part in (temporary / "model").iterdir():
            part.rename(temporary / part.name)
        (temporary / "model").rmdir()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in head.head.state_dict().items()}
        save_file(weights, temporary / WEIGHTS)
        write_json(temporary / SETTINGS, {"format": FORMAT, "labels": list(head.labels), "dropout": head.dropout})
        seal(temporary)


def has_head(folder: str | Path) -> bool:
    """Whether a model's folder holds a claim head, too."""
    return (Path(folder) / SETTINGS).is_file()


def load_head(folder: str | Path, encoder: BiEncoder | None = None) -> ClaimHead:
    """Model and head of a folder, ready to choose once an index is attached to `head.model`.

    Raises `MiniragError` where a file is missing or differs from its checksum, and for weights of another shape.
    """
    return head_of(folder, from_pretrained(folder, encoder))


def head_of(folder: str | Path, model: RagModel) -> ClaimHead:
    """The folder's head over its model, which is open already."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    check_seal(folder)
    saved = read_json(folder / SETTINGS)
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise MiniragError(f"{folder / SETTINGS} is not of {FORMAT!r}; save the head again with this version of minirag")
    labels, dropout = saved.get("labels"), saved.get("dropout")
    if not (isinstance(labels, list) and all(isinstance(one, str) for one in labels) and isinstance(dropout, int | float)):
        raise MiniragError(f"{folder / SETTINGS} lacks the labels or the dropout; save the head again")
    head = ClaimHead(model, labels, dropout)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise MiniragError(f"{folder / WEIGHTS} is damaged ({error}); save the head again") from None
    fill(head.head, weights, lambda name: name, folder / WEIGHTS, f"claim head of {len(labels)} labels")
    return head.to(model.device).eval()
