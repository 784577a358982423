"""What a command will need before it starts: memory stage by stage, and disk.

The formulas count the arrays that the code holds at the worst moment of each stage. What they
leave out is what Python, the libraries and the allocator take, which is measured: `IMPORTS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

MIB = 2**20
IMPORTS = {"prepare": 235 * MIB, "fit": 600 * MIB, "recommend": 270 * MIB}
"""Resident memory of each command whose data takes none."""
ENCODER, ENCODING = 540 * MIB, 110 * MIB
"""What transformers and the default encoder add, and what they add besides while they encode."""
LIST_ROW = 8.5
"""Bytes of a row of lists on disk, as Parquet; other formats take more."""
ROW = 21
"""Bytes of an interaction in memory: user, item, behaviour, time, weight."""
EDGE = 20
"""Bytes of an edge of the graph."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a command will need."""

    by_stage: Mapping[str, int]
    """Bytes resident at the worst moment of each stage."""
    disk_bytes: int
    """Bytes written at most at one time, what is removed at the end included."""
    kept_bytes: int
    """Bytes that stay."""
    without_dense: int | None = None
    """The most resident at any time if the search switches the dense half off, which nobody knows
    before; None where it cannot."""

    @property
    def memory_bytes(self) -> int:
        """The most that is resident at any time."""
        return max(self.by_stage.values())

    @property
    def worst_stage(self) -> str:
        """The stage in which that is."""
        return max(self.by_stage, key=lambda stage: self.by_stage[stage])

    def to_text(self) -> str:
        """For a person: `3.1 GiB of memory (in search) and 0.4 GiB of disk`."""
        memory, disk, where = in_words(self.memory_bytes), in_words(self.disk_bytes), ""
        if self.without_dense is not None and in_words(self.without_dense) != memory:
            less = in_words(self.without_dense)
            where = f"; {less} where the search switches the dense half off"
        return f"{memory} of memory (in {self.worst_stage}{where}) and {disk} of disk"


def in_words(n_bytes: float) -> str:
    """A size for a person: `3.1 GiB`, `420 MiB`."""
    if n_bytes < MIB:
        return f"{n_bytes / 1024:.0f} KiB"
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / MIB:.0f} MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListShape:
    """The sizes that decide what lists need."""

    n_users: int
    n_items: int
    n_rows: int
    size: int
    """Length of an item's vector, its bias left out."""
    dense: int
    """Bytes of the vectors, likewise of S, of the index and of the graph."""
    sparse: int
    index: int
    graph: int
    strings: int
    """Bytes of ids and tables in memory."""
    id_bytes: float
    """Bytes of a user's id, the mean."""


def lists_needs(shape: ListShape, k: int, n_users: int, batch: int) -> Estimate:
    """What `kgrec recommend` needs to rank some users, so many at once."""
    k, b, n = min(k, shape.n_items), min(batch, n_users), shape.n_items
    graph = shape.graph + shape.strings + shape.n_rows * ROW
    vectors = 4 * n * (shape.size + 1)
    held = IMPORTS["recommend"] + graph + shape.sparse + shape.dense
    model = held + vectors + shape.index
    merged = shape.n_rows * ROW
    length = shape.n_rows / max(shape.n_users, 1)
    retrieved = min(b * min(k + length + 64, n), 2**23)
    ranking = 12 * n * (os.cpu_count() or 1) + 24 * retrieved + 8 * b * k + 4 * b * shape.size * 3
    ranking += b * length * 100 + 4 * 1024 * min(8192, n)
    waiting = min(2**18 + b * k, n_users * k) * 100
    stages = {
        "reading the model": max(held + shape.dense, model),
        "joining histories": model + merged + 30 * shape.n_rows,
        "lists": model + merged + int(ranking + waiting),
    }
    return Estimate(stages, lists := int(n_users * k * LIST_ROW), lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """The sizes that decide what reading tables needs."""

    n_rows: float
    """Interactions."""
    n_ids: float
    """Users and items, as many as the first rows let expect."""
    other_bytes: int
    """Bytes of the other tables, unpacked."""


def prepare_needs(shape: TableShape) -> Estimate:
    """What `kgrec prepare` needs: batches of rows in flight, then coded rows and ids."""
    rows, ids = shape.n_rows, shape.n_ids
    in_flight = 130 * min(rows, 2_000_000)
    coded = IMPORTS["prepare"] + (ROW + 12) * rows + 60 * ids
    stages = {
        "reading": int(coded + in_flight + 3 * shape.other_bytes),
        "writing": int(coded + 3 * shape.other_bytes),
    }
    disk = int(10 * rows + 12 * ids + EDGE * ids + 0.5 * shape.other_bytes)
    return Estimate(stages, disk, disk)
