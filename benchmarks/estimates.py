"""What commands say that they need before they start, beside what they held: memory and disk.

    python benchmarks/estimates.py --folder DIR [--rows 30000,200000,1000000]
        [--set STAGE.FIELD=VALUE ...] [--data DATA --schema S --name NAME]

Runs `kgrec prepare`, `fit`, `recommend -k 100` and `evaluate` on made rows of UserBehavior of each
size, or on tables of one's own, each in a process of its own whose resident memory is looked at
five times a second, and writes estimate, truth and ratio of each to
benchmarks/results/estimates.json. A name that stands there already is measured anew.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from generate_taobao import write

from kgrec.benchmark.limits import peak_bytes, resident_bytes
from kgrec.benchmark.made import commit, hardware

RESULT = Path(__file__).parent / "results" / "estimates.json"
_SAID = re.compile(
    r": needs about (\S+) (\w+) of memory \(in ([^)]*)\)(?: and (\S+) (\w+) of disk)?"
    r"(?:, or (\S+) (\w+) and (\S+) (\w+) where)?"
)
_SWITCHED_OFF = re.compile(r"switched off:.*\bdense_weight\b")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Said(NamedTuple):
    """What a command said that it needs, in bytes."""

    memory: float
    disk: float | None
    """None of a command that writes next to nothing."""
    stage: str
    """In which it needs that memory."""


def said(log: str) -> Said | None:
    """What stands in a log: of a fit whose search switched the dense half off, what was said of
    that case. None where nothing was said."""
    found = _SAID.search(log)
    if found is None:
        return None

    def size(at: int) -> float:
        return float(found[at]) * _UNITS[found[at + 1]]

    if found[6] and _SWITCHED_OFF.search(log):
        return Said(size(6), size(8), "all, without the dense half")
    return Said(size(1), size(4) if found[4] else None, found[3])


def disk_bytes(folder: Path) -> int:
    """Bytes of the files in a folder; one that goes meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def measured(command: list[str], folder: Path) -> dict[str, Any]:
    """Runs a kgrec command that writes into an empty folder; what it said and what it held."""
    folder.mkdir(parents=True)
    memory = disk = 0
    log = folder.with_suffix(".log")
    with log.open("w") as lines:
        child = subprocess.Popen(
            [sys.executable, "-m", "kgrec", *command], stderr=lines, stdout=lines,
            start_new_session=True,
        )  # fmt: skip
        while child.poll() is None:
            memory = max(memory, resident_bytes(child.pid), peak_bytes(child.pid))
            disk = max(disk, disk_bytes(folder))
            time.sleep(0.2)
    found = said(log.read_text())
    if child.returncode or found is None:
        raise SystemExit(f"kgrec {' '.join(command)} ended with {child.returncode}; see {log}")
    disk = max(disk, disk_bytes(folder))
    return {
        what: {"estimate_mib": round(e / 2**20, 3), "truth_mib": round(truth / 2**20, 3),
               "ratio": round(e / truth, 2)}
        for what, e, truth in zip(("memory", "disk"), found[:2], (memory, disk), strict=True)
        if e is not None
    } | {"stage": found.stage}  # fmt: skip


def chain(data: Path, schema: str, folder: Path, split: str, options: list[str]) -> dict[str, Any]:
    """The commands, one after another."""
    settings = [word for option in options for word in ("--set", option)]
    shop, model = folder / "prepare" / "shop", folder / "fit" / "model"
    lists = folder / "recommend" / "lists.parquet"
    commands = {
        "prepare": ["prepare", str(data), "--schema", schema, "--out", str(shop)],
        "fit": ["fit", str(shop), "--split", split, "--out", str(model), *settings],
        "recommend": ["recommend", str(model), "-k", "100", "--out", str(lists)],
        "evaluate": ["evaluate", str(model), "--out", str(folder / "evaluate" / "found.json")],
    }
    found = {}
    for name, command in commands.items():
        found[name] = measured(command, folder / name)
        print(f"{folder.name} {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measures some sizes, or one set of tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where everything lies")
    parser.add_argument("--rows", default="30000,200000,1000000")
    parser.add_argument("--data", type=Path, help="tables to measure in place of made rows")
    parser.add_argument("--schema", default="taobao-userbehavior")
    parser.add_argument("--split", default="time")
    parser.add_argument("--name", default="own", help="of the tables")
    parser.add_argument("--set", action="append", default=[], dest="options", metavar="OPTION")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    sets = {args.name: args.data} if args.data else {}
    for rows in [] if args.data else map(int, args.rows.split(",")):
        sets[str(rows)] = args.folder / f"UserBehavior-{rows}.csv"
        if not sets[str(rows)].is_file():
            write(rows, 7, sets[str(rows)])
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for name, data in sets.items():
        found = chain(data, args.schema, args.folder / name, args.split, args.options)
        made = {"options": args.options, "commit": commit(), "hardware": hardware()}
        result[name] = found | made
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
