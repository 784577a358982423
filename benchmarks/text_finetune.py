"""Frozen against fine-tuned text, on items that training never saw; writes one JSON a run.

    python benchmarks/text_finetune.py DATA --schema amazon-scientific-2018 --out results.json

A fifth of the items leaves the training interactions: one half chooses, the other reports. A user
is the sum of the vectors of what training says they had; every item of the catalogue is ranked but
what they had and the other half of those left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from kgrec.interactions import Interactions
from kgrec.loading import load
from kgrec.text import TextConfig, embed_items

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def recall(
    vectors: Floats, train: Interactions, rest: Interactions, allowed: Mask, k: int
) -> float:
    """Mean recall@k over users with a history and something held out, among `allowed` items."""
    had, held = counts(train), counts(rest)
    users = np.flatnonzero((np.diff(had.indptr) > 0) & (np.diff(held.indptr) > 0))
    scores = (had[users] @ vectors) @ vectors.T  # (n_users, n_items)
    scores[had[users].nonzero()] = -np.inf
    scores[:, ~allowed] = -np.inf
    top = np.argpartition(-scores, k, axis=1)[:, :k]
    truth = held[users].toarray() > 0
    return float((np.take_along_axis(truth, top, 1).sum(1) / truth.sum(1)).mean())


def counts(rows: Interactions) -> sp.csr_array:
    """Which user had which item, (n_users, n_items)."""
    ones = np.ones(len(rows), np.float32)
    found = sp.csr_array((ones, (rows.user, rows.item)), shape=(rows.n_users, rows.n_items))
    found.data[:] = 1
    return found


def measure(
    vectors: Floats, train: Interactions, every: Interactions, part: Mask, other: Mask
) -> dict[str, float]:
    """Recall@20 of the left-out items of `part`: among all items, and among themselves."""
    rest = every.where(part[every.item])
    return {
        "among_all": recall(vectors, train, rest, ~other, 20),
        "among_left_out": recall(vectors, train, rest, part, 20),
    }


def variants(steps: int) -> dict[str, TextConfig]:
    """What is compared."""
    base = TextConfig(max_steps=steps)
    return {
        "frozen": base,
        "frozen, 64 tokens": replace(base, max_length=64),
        "lora": replace(base, mode="lora"),
        "full": replace(base, mode="full"),
        "full, no attribute pairs": replace(base, mode="full", attribute_share=0.0),
    }


def main() -> None:
    """Runs every variant and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--schema", default="amazon-scientific-2018")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", nargs="*", help="names of variants; all when left out")
    options = parser.parse_args()
    shop = load(options.data, options.schema)
    every = shop.interactions
    tenth = np.random.default_rng(options.seed).permutation(every.n_items) % 10
    validation, test = tenth == 1, tenth == 0
    train = every.where(~(validation | test)[every.item])
    results: dict[str, Any] = {}
    for name, config in variants(options.steps).items():
        if options.only and name not in options.only:
            continue
        start = time.perf_counter()
        vectors = embed_items(shop, train, config)
        assert vectors is not None
        results[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "validation": measure(vectors, train, every, validation, test),
            "test": measure(vectors, train, every, test, validation),
            "config": asdict(config),
        }
        print(name, json.dumps({key: results[name][key] for key in ("seconds", "validation")}))
        report: Mapping[str, Any] = {
            "data": options.data.name,
            "seed": options.seed,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "results": results,
        }
        options.out.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
