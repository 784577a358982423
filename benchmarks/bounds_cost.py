"""What the bounds that keep a large fit linear cost in accuracy, on a million rows that need none.

    python benchmarks/bounds_cost.py DIR/taobao-multibehavior --schema taobao-multibehavior

Fits the sparse half, which these bounds cut, with nothing cut and then with ever less: pairs that
an item keeps (`ranker.most_pairs` a catalogue) and newest rows of a user that count
(`ranker.max_history`). Each fit has the same trials on the same validation part, whose best nDCG@10
is shown; the test part is never scored. Writes benchmarks/results/bounds.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from fit_scale import watched
from safetensors import safe_open

from kgrec.benchmark.made import commit, hardware

RESULT = Path(__file__).parent / "results" / "bounds.json"
AT_A_HUNDRED_MILLION = 48, 79
"""What the bounds leave of 100 million made rows on 4,164,202 items: 200 million pairs are 48 an
item, and 985,004 users make four billion pairs with their newest 79 rows."""
BOUNDS: tuple[tuple[int | None, int], ...] = (
    (None, 500), (400, 500), (100, 500), (48, 500), (24, 500), (12, 500),
    (None, 100), (None, 40), (None, 20), AT_A_HUNDRED_MILLION,
)  # fmt: skip
"""Pairs an item keeps, None for all; newest rows that count."""


def fitted(data: Path, schema: str, n_items: int | None, kept: int | None, rows: int, trials: int,
           folder: Path) -> dict[str, Any]:  # fmt: skip
    """One fit: validation, seconds, peak GiB and entries of S."""
    options = ["network.enabled=false", f"ranker.trials={trials}", f"ranker.max_history={rows}"]
    if kept is not None and n_items is not None:
        options.append(f"ranker.most_pairs={kept * n_items}")
    model = folder / f"model-{kept}-{rows}"
    settings = [word for option in options for word in ("--set", option)]
    found = watched(
        ["fit", str(data), "--schema", schema, "--out", str(model), *settings], folder / "log"
    )
    report = json.loads((model / "manifest.json").read_text())["fit_report"]
    with safe_open(model / "sparse.safetensors", framework="np") as sparse:
        entries = sparse.get_slice("s.data").get_shape()[0]
    with safe_open(model / "dense.safetensors", framework="np") as dense:
        n_items = dense.get_slice("item_out").get_shape()[0]
    return {
        "kept": kept,
        "newest": rows,
        "validation": max(trial["score"] for trial in report["trials"]),
        "entries": entries,
        "seconds": found["seconds"],
        "peak_gib": found["peak_gib"],
        "rows": sum(report["interactions"][part] for part in ("train", "validation")),
        "items": n_items,
    }


def main() -> None:
    """Fits with every pair of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--trials", type=int, default=15)
    args = parser.parse_args()
    fits: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kept, rows in BOUNDS:
            n_items = fits[0]["items"] if fits else None
            fits.append(
                fitted(args.data, args.schema, n_items, kept, rows, args.trials, Path(folder))
            )
            print(json.dumps(fits[-1]), file=sys.stderr, flush=True)
    made = {"data": args.data.name, "trials": args.trials, "fits": fits}
    RESULT.write_text(json.dumps(made | {"commit": commit(), "hardware": hardware()}, indent=1))


if __name__ == "__main__":
    main()
