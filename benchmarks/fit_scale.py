"""The whole chain on made rows of UserBehavior: seconds and memory of each stage.

    python benchmarks/fit_scale.py --rows 1000000 --folder DIR [--memory-budget 20GiB]
        [--set STAGE.FIELD=VALUE ...] [--users N]

Generates that many rows in DIR unless they are there, then runs `kgrec prepare`, `fit`, `recommend
-k 100` and `evaluate` as somebody would, each in a process of its own whose resident memory is
looked at twice a second. Split by time, no text: the graph has categories. Writes seconds by stage,
peak memory, memory over time and the lists' rate to benchmarks/results/fit-ROWS[-NAME].json.

A command that has ended is not run again: what was measured of it lies in DIR. With --users, lists
are made for so many users, drawn at random, and the result says so.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from estimates import said
from generate_taobao import write

from kgrec import load
from kgrec.benchmark.limits import peak_bytes, resident_bytes
from kgrec.benchmark.made import commit, hardware
from kgrec.estimate import list_shape

RESULTS = Path(__file__).parent / "results"
STAGE = re.compile(r"^fit: (.*) \.\.\.$")
_MOST_POINTS = 400
"""Points of memory over time that are kept."""


def watched(command: list[str], log: Path) -> dict[str, Any]:
    """Runs a kgrec command; its seconds, peak GiB, memory over time and when stages began."""
    began = time.monotonic()
    points, stages, peak = [(0.0, 0.0)], [("start", 0.0)], 0
    with log.open("w") as lines:
        child = subprocess.Popen(
            [sys.executable, "-m", "kgrec", *command], stderr=lines, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while child.poll() is None:
            now = time.monotonic() - began
            points.append((round(now, 1), round(resident_bytes(child.pid) / 2**30, 3)))
            peak = max(peak, peak_bytes(child.pid))
            names = [m[1] for line in log.read_text().splitlines() if (m := STAGE.match(line))]
            stages += [(name, round(now, 1)) for name in names[len(stages) - 1 :]]
            time.sleep(0.5)
    if child.returncode:
        raise SystemExit(f"kgrec {' '.join(command)} ended with {child.returncode}; see {log}")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "peak_gib": max(round(peak / 2**30, 3), *(gib for _, gib in points)),
        "memory": points[:: -(-len(points) // _MOST_POINTS)],
        "stages": stages,
    }


def once(name: str, command: list[str], folder: Path, rows: int) -> dict[str, Any]:
    """What was measured of a command, which is run unless it has been."""
    kept, log = folder / f"{name}-{rows}.json", folder / f"{name}-{rows}.log"
    options = [word for word in command if "/" not in word]
    if not kept.is_file():
        of = {"options": options, "commit": commit()}
        kept.write_text(json.dumps(watched(command, log) | of))
    found: dict[str, Any] = json.loads(kept.read_text())
    if found["options"] != options:
        raise SystemExit(f"{kept} was measured with {' '.join(found['options'])}; remove it")
    estimate = said(log.read_text())
    if estimate is not None:
        found["said"] = {"gib": round(estimate.memory / 2**30, 3), "stage": estimate.stage}
    short = {key: found.get(key) for key in ("seconds", "peak_gib", "said")}
    print(f"{name}: {json.dumps(short)}", file=sys.stderr, flush=True)
    return found


def some_users(shop: Path, n: int, path: Path) -> Path:
    """A file of so many ids, drawn at random and the same each time."""
    users = load(shop).users
    drawn = np.random.default_rng(7).choice(len(users), min(n, len(users)), replace=False)
    path.write_text("".join(f"{one}\n" for one in users.take(np.sort(drawn))))
    return path


def chosen(log: Path) -> list[str]:
    """What a fit says that it chose to keep to its budget."""
    return [line for line in log.read_text().splitlines() if "chosen to fit" in line]


def run(
    rows: int,
    folder: Path,
    options: list[str],
    shards: int,
    budget: str | None,
    n_users: int | None,
) -> dict[str, Any]:
    """The chain; what was prepared before is taken as it is."""
    csv, shop = folder / f"UserBehavior-{rows}.csv", folder / f"shop-{rows}"
    model, lists = folder / f"model-{rows}", folder / f"lists-{rows}"
    if not csv.is_file():
        write(rows, 7, csv)
    settings = [word for option in options for word in ("--set", option)]
    settings += ["--memory-budget", budget] if budget else []
    commands = {
        "prepare": ["prepare", str(csv), "--schema", "taobao-userbehavior", "--out", str(shop)],
        "fit": ["fit", str(shop), "--split", "time", "--out", str(model), *settings],
        "recommend": ["recommend", str(model), "-k", "100", "--shards", str(shards),
                      "--out", str(lists)],
        "evaluate": ["evaluate", str(model), "--out", str(folder / f"evaluation-{rows}.json")],
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, command in commands.items():
        if name == "recommend" and n_users is not None:
            command += ["--users", str(some_users(shop, n_users, folder / f"users-{rows}.txt"))]
        found[name] = once(name, command, folder, rows)
    shape = list_shape(model)
    return {
        "rows": rows,
        "options": options,
        "memory_budget": budget,
        "users": n_users,
        **found,
        "evaluated": json.loads((folder / f"evaluation-{rows}.json").read_text())["n_users"],
        "bytes": {
            path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
            for path in (shop, model, lists)
        },
        "shape": {name: getattr(shape, name) for name in ("n_users", "n_items", "size")},
        "chosen": chosen(folder / f"fit-{rows}.log"),
        "commit": found["fit"]["commit"],
        "hardware": hardware(),
    }


def main() -> None:
    """Measures one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="where everything lies")
    parser.add_argument("--set", action="append", default=[], dest="options", metavar="OPTION")
    parser.add_argument("--memory-budget", help="what fit may take; it chooses its options by it")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--users", type=int, help="lists for so many users; by default all")
    parser.add_argument("--name", default="", help="added to the result's name")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found = run(args.rows, args.folder, args.options, args.shards, args.memory_budget, args.users)
    found["name"] = args.name
    RESULTS.mkdir(exist_ok=True)
    name = f"fit-{args.rows}" + (f"-{args.name}" if args.name else "")
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
