"""What a command will need before it starts: memory stage by stage, and disk.

The formulas count the arrays that the code holds at the worst moment of each stage. What they
leave out is what Python, the libraries and the allocator take, which is measured: `IMPORTS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIB = 2**20
IMPORTS = {
    "prepare": 235 * MIB, "fit": 600 * MIB, "recommend": 270 * MIB, "evaluate": 270 * MIB,
}  # fmt: skip
"""Resident memory of each command whose data takes none."""
ENCODER, ENCODING = 540 * MIB, 110 * MIB
"""What transformers and the default encoder add, and what they add besides while they encode."""
LIST_ROW = 8.5
"""Bytes of a row of lists on disk, as Parquet; other formats take more."""
N_METRICS = 7
"""Numbers that `evaluate` keeps of a user for each length of list."""
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
    without_dense: Estimate | None = None
    """The same if the search switches the dense half off, which nobody knows before; None where it
    cannot."""

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
        said = f"{in_words(self.memory_bytes)} of memory (in {self.worst_stage})"
        if self.disk_bytes:
            said += f" and {in_words(self.disk_bytes)} of disk"
        if (less := self.without_dense) is not None:
            memory, disk = in_words(less.memory_bytes), in_words(less.disk_bytes)
            said += f", or {memory} and {disk} where the search switches the dense half off"
        return said


def in_words(n_bytes: float) -> str:
    """A size for a person: `3.1 GiB`, `420 MiB`."""
    if n_bytes < MIB:
        return f"{n_bytes / 1024:.0f} KiB"
    if n_bytes < 2**30:
        return f"{n_bytes / MIB:.{1 if n_bytes < 10 * MIB else 0}f} MiB"
    return f"{n_bytes / 2**30:.1f} GiB"


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
    n_held_out: int
    """Rows that `evaluate` is to predict."""

    @property
    def in_memory(self) -> int:
        """Bytes of a model in memory, without what Python and the libraries take."""
        rows = self.graph + self.strings + self.n_rows * ROW
        return rows + self.sparse + self.dense + 4 * self.n_items * (self.size + 1) + self.index

    @property
    def while_read(self) -> int:
        """The most held while it is read: half of a file is one array, which is held twice."""
        first = self.graph + self.strings + self.sparse
        return max(first + self.sparse // 2, first + self.dense * 3 // 2, self.in_memory)

    def ranking(self, k: int, batch: int) -> int:
        """Bytes that a batch of users takes while it is ranked."""
        length = self.n_rows / max(self.n_users, 1)
        retrieved = min(batch * min(k + length + 64, self.n_items), 2**23)
        threads = 12 * self.n_items * (os.cpu_count() or 1)
        users = batch * (8 * k + 12 * self.size + 100 * length)
        return int(threads + 24 * retrieved + users + 4 * 1024 * min(1024, self.n_items))


def lists_needs(shape: ListShape, k: int, n_users: int, batch: int) -> Estimate:
    """What `kgrec recommend` needs to rank some users, so many at once."""
    k, batch = min(k, shape.n_items), min(batch, n_users)
    start, merged = IMPORTS["recommend"], shape.n_rows * ROW
    waiting = min(2**18 + batch * k, n_users * k) * 100
    stages = {
        "reading the model": start + shape.while_read,
        "joining histories": start + shape.in_memory + merged + 30 * shape.n_rows,
        "lists": start + shape.in_memory + merged + shape.ranking(k, batch) + waiting,
    }
    return Estimate(stages, lists := int(n_users * k * LIST_ROW), lists)


def evaluation_needs(shape: ListShape, ks: Sequence[int], batch: int) -> Estimate:
    """What `kgrec evaluate` needs to rank so many users at once; it writes next to nothing."""
    n_users = min(shape.n_users, shape.n_held_out)
    k, batch = min(max(ks), shape.n_items), min(batch, n_users)
    held = IMPORTS["evaluate"] + shape.in_memory
    stages = {
        "reading the model": IMPORTS["evaluate"] + shape.while_read,
        "what was held out": held + 30 * shape.n_rows,
        "ranking": held + shape.ranking(k, batch) + 2 * 8 * N_METRICS * len(ks) * n_users,
    }
    return Estimate(stages, 0, 0)


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
