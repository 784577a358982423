"""What the bounds that keep a large fit linear cost in accuracy, on a million rows that need none.

    python benchmarks/bounds_cost.py DIR/taobao-multibehavior --schema taobao-multibehavior

Fits the sparse half, which these bounds cut, with nothing cut and then with ever less: pairs that
an item keeps (`ranker.most_pairs` by the items) and pairs counted for each row
(`ranker.most_counted` by the rows). Each fit has the same trials on the same validation part, whose
best nDCG@10 is shown; the test part is never scored. Writes benchmarks/results/bounds.json.
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
AT_A_HUNDRED_MILLION = 48, 100
"""What the bounds leave of 100 million rows on 4,162,024 items: 200 million pairs are 48 an item,
and ten billion pairs counted are 100 a row."""
BOUNDS: tuple[tuple[int | None, int | None], ...] = (
    (None, None), (400, None), (100, None), (48, None), (24, None), (12, None),
    (None, 100), (None, 40), (None, 20), AT_A_HUNDRED_MILLION,
)  # fmt: skip
"""Pairs that an item keeps, pairs counted for each row; None for all."""


def fitted(data: Path, schema: str, kept: int | None, counted: int | None, trials: int,
           folder: Path, first: dict[str, Any] | None) -> dict[str, Any]:  # fmt: skip
    """One fit: validation, seconds, peak GiB and entries of S; `first` is what the first gave."""
    options = ["network.enabled=false", f"ranker.trials={trials}"]
    if first is not None and kept is not None:
        options.append(f"ranker.most_pairs={kept * first['items']}")
    if first is not None and counted is not None:
        options.append(f"ranker.most_counted={counted * first['rows']}")
    model = folder / f"model-{kept}-{counted}"
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
        "counted": counted,
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
        for kept, counted in BOUNDS:
            first = fits[0] if fits else None
            fits.append(
                fitted(args.data, args.schema, kept, counted, args.trials, Path(folder), first)
            )
            print(json.dumps(fits[-1]), file=sys.stderr, flush=True)
    made = {"data": args.data.name, "trials": args.trials, "fits": fits}
    RESULT.write_text(json.dumps(made | {"commit": commit(), "hardware": hardware()}, indent=1))


if __name__ == "__main__":
    main()
