"""How large the matrices of a fit will be, found without making them: counts and a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from kgrec.counts import others
from kgrec.evidence import attribute_rows, cut, relation_rows
from kgrec.graph import KnowledgeGraph
from kgrec.history import newest
from kgrec.interactions import Interactions
from kgrec.ranker_config import RankerConfig

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_SAMPLED = 400
"""Items whose pairs are counted."""
TEXT_PAIRS = 150
"""Items that share a text neighbour with an item, about: texts are not embedded before a fit."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Entries of the matrices that S is solved from: row by row, of a sample of the items."""

    rows: int
    """Interactions that they are counted on."""
    n_items: int
    most_pairs: int
    """`ranker.most_pairs`."""
    share: Floats
    """How many of its like each sampled item stands for is 1 / share, (n,)."""
    entries: Mapping[str, Floats]
    """Entries in the row of each sampled item, (n,), by matrix: `history`, the Gram matrix of the
    histories; `NAME` and `NAME to target` of each other behaviour; `attributes`, `relations`,
    `text`."""
    pruned: frozenset[str]
    """Matrices of which each row keeps its best."""
    n_prefixes: int
    """Places in the histories before each interaction to predict, 0 where order is unknown."""
    n_before: int
    """Pairs within those histories, about."""
    n_targets: int

    @property
    def views(self) -> tuple[str, ...]:
        """The other behaviours."""
        return tuple(n.removesuffix(" to target") for n in self.entries if n.endswith(" to target"))

    def row(self, name: str, n_neighbours: int) -> Floats:
        """Entries in the row of each sampled item, (n,); zeros where there is no such matrix."""
        found = self.entries.get(name, np.zeros(len(self.share)))
        if name not in self.pruned:
            return found
        most = np.clip(self.most_pairs // self.n_items, 1, 4 * n_neighbours)
        both = 1.0 if name.endswith(" to target") else 1.5  # what either side of a pair kept
        return np.asarray(np.minimum(found, most) * both, np.float64)

    def total(self, name: str, n_neighbours: int) -> int:
        """Entries of one matrix."""
        return int((self.row(name, n_neighbours) / self.share).sum())

    def columns(self, name: str, n_neighbours: int, n_ridges: int) -> int:
        """Entries of the block of S that is solved from one matrix and what stands beside it, where
        there are so many such blocks."""
        beside = sum(self.row(n, n_neighbours) for n in ("attributes", "relations", "text"))
        most = min(n_neighbours, max(2 * self.most_pairs // max(n_ridges * self.n_items, 1), 1))
        filled = np.minimum(self.row(name, n_neighbours) + beside, most)
        return int((filled / self.share).sum())


def count_pairs(
    rows: Interactions, graph: KnowledgeGraph, has_text: bool, config: RankerConfig
) -> Pairs:
    """Sizes of what `kgrec.counts` would make of some interactions.

    Args:
        rows: What a ranker is to be fitted on.
        graph: The knowledge graph.
        has_text: Whether there will be text embeddings.
        config: How long histories may be.
    """
    n = rows.n_items
    longest = min(config.max_history, cut(np.diff(rows.start), config.most_counted))
    recent = newest(rows.start, longest)
    kept = recent & (rows.weight > 0)
    wanted = recent & rows.is_target()
    masks = {"history": (kept, kept)}
    for name in others(rows):
        mask = kept & (rows.behaviour == rows.behaviours.index(name))
        masks |= {name: (mask, mask), f"{name} to target": (mask, wanted)}
    work = {name: _work(rows.start, rows.item, *pair, n) for name, pair in masks.items()}
    made_by = {"attributes": attribute_rows, "relations": relation_rows}
    beside = {name: make(graph, most_pairs=config.most_pairs) for name, make in made_by.items()}
    features = {name: made for name, made in beside.items() if made is not None}
    weight = work["history"] + sum(_feature_work(made) for made in features.values())
    items, share = _sample(weight)
    chosen = np.full(n, -1, np.int32)
    chosen[items] = np.arange(len(items))
    entries = {
        name: _partners(rows.start, rows.item, *pair, chosen, len(items))
        for name, pair in masks.items()
    }
    entries |= {name: _feature_entries(made, items) for name, made in features.items()}
    if has_text:
        entries["text"] = np.full(len(items), float(min(TEXT_PAIRS, n)))
    back, n_before = np.zeros(0, np.int64), 0.0
    if rows.ordered:
        predicted = np.flatnonzero(rows.is_target())
        back = np.minimum(predicted - rows.start[rows.user[predicted]], config.window)
        length = np.diff(rows.start).astype(np.float64)
        near = np.minimum(length**2, length * (2 * config.window - 1))
        distinct = float((entries["history"] / share).sum()) / max(work["history"].sum(), 1)
        n_before = min(float(near.sum()), float((back**2).sum())) * distinct
        if n_before > config.most_pairs:
            kept = np.clip(config.most_pairs // n, 1, 4 * config.n_neighbours)
            n_before = min(n_before, 1.5 * n * float(kept))
    limit = min(n * n, 2**62)
    return Pairs(
        rows=len(rows),
        n_items=n,
        most_pairs=config.most_pairs,
        share=share,
        entries=entries,
        pruned=frozenset(
            n for n, made in work.items() if min(made.sum(), limit) > config.most_pairs
        ),
        n_prefixes=int(back.sum()),
        n_before=int(n_before),
        n_targets=int(wanted.sum()),
    )


def _sample(work: Longs) -> tuple[Longs, Floats]:
    """Items drawn by the root of their work, so that rare and popular ones are among them, and how
    likely each was drawn; the same each time."""
    weight = np.sqrt(work + 1.0)
    order = np.argsort(weight, kind="stable")
    chance = weight[order] * (_SAMPLED / weight.sum())
    for _ in range(8):  # what exceeds 1 goes to the others
        sure = chance >= 1
        rest = max(_SAMPLED - int(sure.sum()), 0)
        chance = np.where(sure, 1.0, chance * rest / max(chance[~sure].sum(), 1e-9))
    chance = np.minimum(chance, 1.0)
    ticks = np.floor(np.cumsum(chance) + 0.5)
    drawn = np.flatnonzero(np.diff(ticks, prepend=0.0) > 0)
    return order[drawn], chance[drawn]


def _feature_work(rows: sp.csr_array) -> Longs:
    """Pairs that each item makes by its features, repeats counted, (n_items,)."""
    degree = np.bincount(rows.indices, minlength=rows.shape[1])
    ones = sp.csr_array((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
    return np.asarray(ones @ degree, np.int64)


def _feature_entries(rows: sp.csr_array, items: Longs) -> Floats:
    """Items that share a feature with each of some items, themselves included, (n,)."""
    turned = rows.T.tocsr()
    parts = [
        np.diff(sp.csr_array(rows[items[begin : begin + 16]] @ turned).indptr)
        for begin in range(0, len(items), 16)
    ]
    return np.concatenate([np.zeros(0), *parts])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _work(start: Longs, item: Ints, first: Mask, second: Mask, n_items: int) -> Longs:
    """Pairs of each item of one mask with rows of the other of the same user, (n_items,)."""
    work = np.zeros(n_items, np.int64)
    for user in range(len(start) - 1):
        n = np.int64(0)
        for at in range(start[user], start[user + 1]):
            n += second[at]
        for at in range(start[user], start[user + 1]):
            if first[at]:
                work[item[at]] += n
    return work


@njit(cache=True)  # type: ignore[untyped-decorator]
def _partners(
    start: Longs, item: Ints, first: Mask, second: Mask, chosen: Ints, n_chosen: int
) -> Floats:
    """Distinct items that each chosen item of one mask meets in rows of the other, (n_chosen,).

    `chosen` is the place of each item among those, -1 for the others; a bit for each pair is kept.
    """
    met = np.zeros((n_chosen, len(chosen) // 8 + 1), np.uint8)
    found = np.zeros(n_chosen, np.float64)
    for user in range(len(start) - 1):
        for at in range(start[user], start[user + 1]):
            row = chosen[item[at]]
            if row < 0 or not first[at]:
                continue
            for other in range(start[user], start[user + 1]):
                if second[other]:
                    place, bit = item[other] >> 3, np.uint8(1 << (item[other] & 7))
                    if not met[row, place] & bit:
                        met[row, place] |= bit
                        found[row] += 1
    return found
