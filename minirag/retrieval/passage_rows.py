"""In which row a passage stands, by its own id: what others computed for "wiki:42" has to find its place.

A dictionary of 21 million ids takes gigabytes; their hashes, sorted, take 16 bytes each. As two ids can have one hash, the id
itself is compared in the store before it counts as found.
"""

from collections.abc import Sequence

import numpy as np

from minirag.corpus.store import PassageStore


class PassageRows:
    """The rows of a store's passages by id.

    >>> from minirag.corpus.passages import Passage
    >>> store = PassageStore.write(getfixture("tmp_path") / "p", [Passage("a", "", "x"), Passage("b", "", "y")])
    >>> PassageRows(store).find(["b", "c"]).tolist()
    [1, -1]
    """

    def __init__(self, passages: PassageStore) -> None:
        hashes = np.fromiter((hash(passage.id) for passage in passages), np.int64, len(passages))
        self._passages = passages
        self._rows = np.argsort(hashes, kind="stable")  # [N]
        self._hashes = hashes[self._rows]  # [N] ascending

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """The row of each id, −1 where no passage has it: int64 [n]."""
        hashes = list(map(hash, ids))
        places = np.searchsorted(self._hashes, np.array(hashes, np.int64)).tolist()
        return np.fromiter(map(self._row, ids, hashes, places), np.int64, len(ids))

    def _row(self, id: str, hashed: int, place: int) -> int:
        while place < len(self._hashes) and self._hashes[place] == hashed:
            row = int(self._rows[place])
            if self._passages[row].id == id:
                return row
            place += 1
        return -1
