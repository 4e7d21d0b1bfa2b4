"""Scanning product codes: the best rows of a batch of questions, by what their codes say.

The sum of M table entries for a row is a bag of words: for one question, or for all that probe a list side by side, the entries
are one row of numbers each, and torch sums them as it sums the vectors of words. So a visit to a row serves every question at
once; what costs is to make the tables, anew for each list. Which way is cheaper depends on how many questions share a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.retrieval.code_lists import CodeLists, looked_up
from minirag.retrieval.finalists import Ids, Scores
from minirag.retrieval.pq import WORDS, ProductQuantizer
from minirag.retrieval.scratch import scratch
from minirag.retrieval.visits import BLOCK, Visits, tiles

TABLE = 1_500  # to make the tables of some questions takes as long as to look up so many rows (measured, D = 768)
LANES = 16  # questions that a register of 512 bits holds: for fewer the product that makes tables takes longer


@dataclass(frozen=True)
class CodeScan:
    """score = q·a + Σ_m T[m, c_m], over the lists that a question probes."""

    quantizer: ProductQuantizer
    anchors: Float32[Tensor, "C D"]

    def best(
        self, kept: Sequence[CodeLists], questions: Float32[Tensor, "B D"], probes: Int64[Tensor, "B P"], count: int
    ) -> tuple[Scores, Ids]:
        """The `count` best rows of each question by their codes, in no order; −inf and −1 where there are fewer."""
        nobody = torch.full((len(questions), count), -1)
        found = [(torch.full(nobody.shape, -torch.inf), nobody)]
        for lists in kept:
            for_pairs, for_lists = lookups(lists, probes)
            way = self._one_by_one if for_pairs < for_lists else self._list_by_list
            parts = [way(lists, questions[tile], probes[tile], count) for tile in tiles(lists.first, probes)]
            found.append((torch.cat([scores for scores, _ in parts]), torch.cat([ids for _, ids in parts])))
        scores, ids = (torch.cat(column, 1) for column in zip(*found, strict=True))  # [B, n]
        best = scores.topk(count, sorted=False)
        return best.values, ids.gather(1, best.indices)

    def _one_by_one(
        self, lists: CodeLists, questions: Float32[Tensor, "B D"], probes: Int64[Tensor, "B P"], count: int
    ) -> tuple[Scores, Ids]:
        """For few questions: a table each, and all lists it probes looked up in one go."""
        offsets, bounds = self._offsets(), (lists.first * BLOCK).tolist()
        tables = self.quantizer.tables(questions).reshape(len(questions), -1, 1)  # [B, 256·M, 1]
        start = torch.einsum("bpd,bd->bp", self.anchors[probes], questions)  # [B, P]
        sizes = lists.first.diff()[probes] * BLOCK  # [B, P]
        scores, ids = torch.full((len(questions), count), -torch.inf), torch.full((len(questions), count), -1)
        for i, cells in enumerate(probes.tolist()):
            runs = [slice(bounds[cell], bounds[cell + 1]) for cell in cells]
            rows = torch.cat([lists.rows[run] for run in runs])  # [n]
            codes = torch.cat([lists.codes[run] for run in runs])  # [n, M]
            found = looked_up(codes, tables[i], offsets)[:, 0] + start[i].repeat_interleave(sizes[i])  # [n]
            best = found.masked_fill_(rows < 0, -torch.inf).topk(min(count, len(rows)), sorted=False)
            scores[i, : len(best.values)], ids[i, : len(best.values)] = best.values, rows[best.indices].long()
        return scores, ids

    def _list_by_list(
        self, lists: CodeLists, questions: Float32[Tensor, "B D"], probes: Int64[Tensor, "B P"], count: int
    ) -> tuple[Scores, Ids]:
        """For many: the tables of all questions that probe a list, made side by side, so that one lookup serves them all."""
        visits, books, offsets = Visits.of(lists.first, probes), self.quantizer.codebooks, self._offsets()
        pieces = questions @ self.quantizer.rotation  # [B, D]
        cells = torch.arange(len(self.anchors)).repeat_interleave(torch.tensor(visits.counts))  # [pairs]
        start = (questions @ self.anchors.T)[visits.asking, cells][:, None]  # [pairs, 1]
        asking = F.pad(visits.asking, (0, LANES))
        out, place, pair = scratch("scores", len(visits.block) * BLOCK), 0, 0
        for cell, asked in enumerate(visits.counts):
            if asked:
                many = -(-asked // LANES) * LANES  # those beyond `asked` are other lists', and their scores are not looked at
                own = pieces.index_select(0, asking[pair : pair + many]).view(many, self.quantizer.pieces, -1)  # [b, M, d]
                tables = scratch("tables", self.quantizer.pieces, WORDS, many)  # [M, 256, b]
                torch.bmm(books, own.permute(1, 2, 0), out=tables)
                found = lists.scores(cell, tables.view(-1, many), offsets)[:, :asked]  # [n, b]
                target = out[place : place + found.numel()].view(asked, -1)
                torch.add(found.T, start[pair : pair + asked], out=target)
                place, pair = place + found.numel(), pair + asked
        return _best_rows(lists, visits, out.view(-1, BLOCK), len(questions), count)

    def _offsets(self) -> Tensor:
        return torch.arange(0, self.quantizer.pieces * WORDS, WORDS, dtype=torch.int32)


def lookups(lists: CodeLists, probes: Int64[Tensor, "B P"]) -> tuple[int, int]:
    """What the two ways cost, in rows looked up: question by question, and list by list."""
    sizes = lists.first.diff() * BLOCK  # [C]
    touched = probes.unique()
    return int(sizes[probes].sum()) + TABLE * len(probes), int(sizes[touched].sum()) + TABLE * len(touched)


def _best_rows(
    lists: CodeLists, visits: Visits, scores: Float32[Tensor, "blocks 32"], batch: int, count: int
) -> tuple[Scores, Ids]:
    """The best rows of each question: they are in its `count` best blocks."""
    table = torch.full((batch, visits.width), -torch.inf)  # [B, most blocks of a question]
    where = torch.zeros(batch, visits.width, dtype=torch.int64)
    table[visits.query, visits.column] = scores.amax(1)
    where[visits.query, visits.column] = torch.arange(len(scores))
    best = table.topk(min(count, visits.width), sorted=False)
    hit = where.gather(1, best.indices)  # [B, R]
    found = scores[hit].masked_fill_((best.values == -torch.inf)[:, :, None], -torch.inf).flatten(1)  # [B, 32·R]
    top = found.topk(min(count, found.shape[1]), sorted=False)
    slots = visits.block[hit.gather(1, top.indices // BLOCK)] * BLOCK + top.indices % BLOCK
    return top.values, lists.rows[slots].long().masked_fill_(top.values == -torch.inf, -1)
