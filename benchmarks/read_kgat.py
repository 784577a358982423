"""The knowledge graph of KGAT's Amazon-Book at its full size, read by the schema `kgat`.

    python benchmarks/read_kgat.py            generates files of that size and reads them
    python benchmarks/read_kgat.py DIR        reads the original files, or any of their format

Prints counts, seconds and peak memory as JSON, taken in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the generated files are; the defaults are those of KGAT, table 1."""

    users: int = 70_679
    items: int = 24_915
    entities: int = 113_487
    """Items among them."""
    relations: int = 39
    triples: int = 2_557_746
    interactions: int = 652_514


def write_files(folder: Path, size: Size | None = None, seed: int = 7) -> dict[str, Any]:
    """Generates train.txt, the lists of names and kg_final.txt: skewed, every node in a triple.

    Returns:
        What a reader has to find: see `read`.
    """
    size = size or Size()
    generator = np.random.default_rng(seed)
    triples = _triples(size, generator)
    pl.DataFrame(triples, schema=["head", "relation", "tail"]).write_csv(
        folder / "kg_final.txt", separator=" ", include_header=False
    )
    names = {"item_list": size.items, "entity_list": size.entities, "relation_list": size.relations}
    for name, n in names.items():
        ids = pl.DataFrame({"remap_id": np.arange(n)}).select(
            pl.format(f"{name[0]}.{{}}", "remap_id").alias("org_id"), "remap_id"
        )
        ids.write_csv(folder / f"{name}.txt", separator=" ")
    n_interactions = _write_interactions(folder / "train.txt", size, generator)
    edges = np.bincount(triples[:, 1], minlength=size.relations)
    outside = triples[:, 2][triples[:, 2] >= size.items]
    degree = np.bincount(outside)
    return {
        "users": size.users,
        "items": size.items,
        "entities": size.entities,
        "interactions": n_interactions,
        "edges": {f"r.{n}": int(count) for n, count in enumerate(edges)},
        "hub": [f"e.{degree.argmax()}", int(degree.max())],
    }


def _triples(size: Size, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Distinct (head, relation, tail), (n_triples, 3): few relations and few nodes have most."""
    every = np.arange(size.entities)  # each is the head of a triple once
    found = np.stack([every, every % size.relations, (every + 1) % size.entities], axis=1)
    while len(found) < size.triples:
        n = int(1.2 * (size.triples - len(found))) + 1000
        head = (size.items * generator.power(2.0, n)).astype(np.int64)
        relation = (size.relations * generator.random(n) ** 3).astype(np.int64)
        tail = (size.entities * generator.random(n) ** 4).astype(np.int64)
        tail = (tail * 7919 + size.items) % size.entities  # the hubs are no items
        more = np.stack([head, relation, tail], axis=1)[head != tail]
        drawn = np.concatenate([found, more])
        key = (drawn[:, 0] * size.relations + drawn[:, 1]) * size.entities + drawn[:, 2]
        found = drawn[np.sort(np.unique(key, return_index=True)[1])]
    return generator.permutation(found[: size.triples])


def _write_interactions(path: Path, size: Size, generator: np.random.Generator) -> int:
    """A line a user: the user, then distinct items."""
    lengths = 1 + generator.multinomial(
        size.interactions - size.users, [1 / size.users] * size.users
    )
    n = 0
    with path.open("w", encoding="ascii") as lines:
        for user, length in enumerate(lengths):
            items = np.unique((size.items * generator.random(length) ** 2).astype(np.int64))
            lines.write(f"{user} {' '.join(map(str, items))}\n")
            n += len(items)
    return n


def read(folder: Path) -> dict[str, Any]:
    """What `kgrec.load` makes of such files: counts, seconds, peak memory of this process."""
    import kgrec
    from kgrec.benchmark.limits import own_peak_gib

    started = time.perf_counter()
    shop = kgrec.load(folder, "kgat")
    seconds = time.perf_counter() - started
    edges: dict[str, int] = {}
    n_outside = len(shop.graph.nodes["entity"])
    degree = np.zeros(n_outside, np.int64)
    for relation in shop.graph.relations:
        edges[relation.name] = edges.get(relation.name, 0) + len(relation)
        if relation.tail == "entity":
            degree += np.bincount(relation.edges[1], minlength=n_outside)
    return {
        "users": len(shop.users),
        "items": len(shop.items),
        "entities": len(shop.items) + n_outside,
        "interactions": len(shop.interactions),
        "edges": edges,
        "hub": [shop.graph.nodes["entity"].ids[int(degree.argmax())], int(degree.max())],
        "seconds": round(seconds, 1),
        "peak_gib": round(own_peak_gib(), 2),
    }


def measure(folder: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, str(folder), "--here"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Generates unless there is a folder, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(read(args.folder)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        if args.folder is None:
            write_files(folder)
        found = measure(folder)
    found["triples"], found["relations"] = sum(found["edges"].values()), len(found.pop("edges"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
