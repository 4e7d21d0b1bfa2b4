"""Side by side with the peers, in one run, on the same input."""

from typing import Any

from minirag import doctor
from minirag.errors import MiniragError


def run(name: str, progress: bool = True, **options: Any) -> dict[str, Any]:
    """The bench `name`, one of "search", "encode", "decode", "loss", "train", "serve", "scale", with `options` of its module;
    and the machine.

    Every row holds `case`, `ours`, `peer`, `peer_name`, `unit`, `ratio` (how many times faster than the peer) and `equal`
    (whether the results are the same).
    """
    if name == "search":
        from minirag.bench import search

        rows = search.rows(progress=progress, **options)
    elif name == "pq":
        from minirag.bench import pq

        rows = pq.run(progress=progress, **options)
    elif name == "encode":
        from minirag.bench import encode

        rows = encode.run(**options)
    elif name == "decode":
        from minirag.bench import decode

        rows = decode.run(**options)
    elif name == "loss":
        from minirag.bench import loss

        rows = loss.run(**options)
    elif name == "train":
        from minirag.bench import train

        rows = train.run(**options)
    elif name == "serve":
        from minirag.bench import serve

        rows = serve.run(**options)
    elif name == "scale":
        from minirag.bench import scale

        return {"machine": doctor.machine(), **scale.run(progress=progress, **options)}
    else:
        raise MiniragError(f"there is no bench '{name}'; choose search, pq, encode, decode, loss, train, serve or scale")
    return {"machine": doctor.machine(), "rows": rows}
