"""What it costs the search to rank held-out items among a sample of the catalogue.

    python benchmarks/search_sample.py DIR/taobao-multibehavior --schema taobao-multibehavior

Scores the same configurations of the sparse half, drawn at random from the search's own ladders,
on the validation part: against the whole catalogue, then against ever smaller samples of it. Shows
the rank correlation of the scores and how much of the best nDCG@10 is lost by taking the
configuration that a sample likes best. Writes benchmarks/results/search-sample-DATA.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import kgrec
from kgrec.benchmark.made import commit, hardware
from kgrec.config import Config
from kgrec.counts import gather
from kgrec.ranker import popularity_vectors
from kgrec.ranker_config import RankerConfig
from kgrec.split import split
from kgrec.tune import LADDERS, first, searched_fields, with_field
from kgrec.validation import Validation

RESULTS = Path(__file__).parent / "results"
SHARES = (0.25, 0.1, 0.05, 0.02)
"""Of the catalogue; 60,000 of 4,162,024 items are 0.014."""


def drawn(validation: Validation, n: int) -> list[RankerConfig]:
    """Configurations of which every field lies on its ladder, the first as the search starts."""
    start, generator = first(validation, RankerConfig()), np.random.default_rng(7)
    found = [start]
    for _ in range(n - 1):
        one = start
        for field in searched_fields(validation):
            one = with_field(one, field, float(generator.choice(LADDERS[field.partition(".")[0]])))
        found.append(one)
    return found


def main() -> None:
    """Measures one dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--configurations", type=int, default=20)
    parser.add_argument("--samples", type=int, default=2, help="samples of each size")
    args = parser.parse_args()
    shop, config = kgrec.load(args.data, args.schema), Config()
    parts = split(shop, config.split)
    evidence = gather(parts.train, shop.graph, None, config.ranker)
    dense, n_items = popularity_vectors(evidence.degree), shop.interactions.n_items

    every = Validation(evidence, parts.validation, dense, max_items=n_items)
    configurations = drawn(every, args.configurations)
    began = time.perf_counter()
    full = [every.score(one) for one in configurations]
    whole_seconds = time.perf_counter() - began
    rows: list[dict[str, Any]] = []
    for share in SHARES:
        for number in range(args.samples):
            sampled = Validation(
                evidence, parts.validation, dense,
                max_items=round(share * n_items), seed=config.seed + number,
            )  # fmt: skip
            began = time.perf_counter()
            found = [sampled.score(one) for one in configurations]
            rows.append(
                {
                    "share": share,
                    "items": len(sampled.candidates.items),
                    "users": len(sampled.users),
                    "correlation": float(spearmanr(full, found).statistic),
                    "lost": 1 - full[int(np.argmax(found))] / max(full),
                    "seconds": (time.perf_counter() - began) / whole_seconds,
                }
            )
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    made = {
        "data": args.data.name, "n_items": n_items, "users": len(every.users), "scores": full,
        "samples": rows, "commit": commit(), "hardware": hardware(),
    }  # fmt: skip
    path = RESULTS / f"search-sample-{args.data.name}.json"
    path.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
