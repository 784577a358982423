"""Raw rows to coded Parquet and graph, beside a bare scan of the same file and beside pandas.

    python benchmarks/read_scale.py --rows 10000000 [--folder DIR] [--repeats 3] [--without pandas]

Generates that many rows of UserBehavior.csv in DIR, unless they are there, and reads them in turn,
each time in a process of its own:

- scan: polars scans the CSV and writes the same columns as Parquet, and does nothing else;
- kgrec: `kgrec prepare`, which checks every row, codes ids, sorts by user and builds the graph;
- pandas: reads the CSV, factorizes users, items and categories, and writes Parquet.

Writes seconds, the median ratio to the scan of the same round and peak memory to
benchmarks/results/read-ROWS.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from generate_taobao import COLUMNS, write

from kgrec.benchmark.limits import own_peak_gib
from kgrec.benchmark.made import commit, hardware

RESULTS = Path(__file__).parent / "results"


def scan(csv: Path, out: Path) -> None:
    """What reading costs at least."""
    import polars as pl

    frame = pl.scan_csv(csv, has_header=False, new_columns=list(COLUMNS))
    frame.sink_parquet(out / "rows.parquet")


def kgrec(csv: Path, out: Path) -> None:
    """The shop folder."""
    from kgrec import cli

    command = ["prepare", str(csv), "--schema", "taobao-userbehavior", "--out", str(out / "shop")]
    if cli.main(command):
        raise SystemExit(1)


def pandas(csv: Path, out: Path) -> None:
    """What a script of ten lines does: numbers instead of ids, nothing checked or sorted."""
    import pandas as pd

    rows = pd.read_csv(csv, header=None, names=list(COLUMNS))
    for name in ("user", "item", "category", "behaviour"):
        rows[name], _ = pd.factorize(rows[name])
    rows.to_parquet(out / "rows.parquet")


READERS = {"scan": scan, "kgrec": kgrec, "pandas": pandas}


def measure(reader: str, csv: Path) -> dict[str, float]:
    """Seconds and peak GiB of one reader in a process of its own."""
    with tempfile.TemporaryDirectory(dir=csv.parent) as out:
        command = [sys.executable, __file__, "--reader", reader, "--csv", str(csv), "--out", out]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(rows: int, folder: Path, repeats: int, readers: list[str]) -> dict[str, Any]:
    """Every reader in turn, `repeats` times over."""
    csv = folder / f"UserBehavior-{rows}.csv"
    if not csv.is_file():
        write(rows, 7, csv)
    rounds = []
    for _ in range(repeats):
        rounds.append({reader: measure(reader, csv) for reader in readers})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    found = {
        reader: {
            "seconds": [one[reader]["seconds"] for one in rounds],
            "ratio": round(
                median(one[reader]["seconds"] / one["scan"]["seconds"] for one in rounds), 2
            ),
            "peak_gib": max(one[reader]["peak_gib"] for one in rounds),
        }
        for reader in readers
    }
    made = {"commit": commit(), "hardware": hardware()}
    return {"rows": rows, "bytes": csv.stat().st_size, "readers": found, **made}


def main() -> None:
    """Measures, or reads once where another process asked for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the rows lie (default: a temporary one)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", choices=["pandas"], action="append", default=[])
    parser.add_argument("--reader", choices=list(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        began = time.perf_counter()
        READERS[args.reader](args.csv, args.out)
        seconds = round(time.perf_counter() - began, 2)
        print(json.dumps({"seconds": seconds, "peak_gib": round(own_peak_gib(), 2)}))
        return
    readers = [reader for reader in READERS if reader not in args.without]
    with tempfile.TemporaryDirectory() as temporary:
        found = run(args.rows, args.folder or Path(temporary), args.repeats, readers)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"read-{args.rows}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["readers"], indent=1))


if __name__ == "__main__":
    main()
