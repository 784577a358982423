"""The original rows of Taobao's UserBehavior.csv beside generated ones, in figures.

    python benchmarks/compare_taobao.py DIR

DIR holds whole users of the original, as many rows as you have; as many are generated. The figures
of both are printed, and written with their curves to benchmarks/results/generated.json, which
scale_page.py draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from generate_taobao import BEGIN, BEHAVIOURS, COLUMNS, DAY, DAYS, Floats, Ints, generate

from kgrec.benchmark.made import commit
from kgrec.errors import KgrecError
from kgrec.report import cell

RESULT = Path(__file__).parent / "results" / "generated.json"
REAL = "UserBehavior.head_users*.csv*"
CHINA = 8 * 3600
"""Its time zone."""
QUANTILES = [share / 100 for share in range(1, 100)]
RANKS = sorted({round(10 ** (power / 10)) for power in range(46)})
CHARTS: dict[str, tuple[str, bool, Sequence[float]]] = {
    "rows of a user": ("quantile", False, QUANTILES),
    "rows of an item": ("rank", True, RANKS),
    "rows of a category": ("rank", True, RANKS),
    "repeats of an item": ("rows later", True, range(2, 51)),
    "repeats of a category": ("rows later", True, range(1, 51)),
    "days": ("days after 25 November 2017", False, range(DAYS)),
    "hours": ("hour in China", False, range(24)),
}
"""Over what each is drawn, whether on logarithmic axes, and at which places."""


def figures(rows: pl.DataFrame) -> dict[str, list[float]]:
    """What interactions look like, from columns COLUMNS, users one after another by time.

    Returns:
        By name: one value, or as many as CHARTS has places. Shares are of all rows; of repeats
        where they are by lag; counts are 0 after the last rank.
    """
    users, items, categories = (_counts(rows, name) for name in COLUMNS[:3])
    rows = rows.with_columns(row=pl.int_range(pl.len()).over("user"))
    item_lag, category_lag = _steps(rows, "row", "item"), _steps(rows, "row", "category")
    gap, time = _steps(rows, "time"), rows["time"].to_numpy()
    inside = time[(time >= BEGIN) & (time < BEGIN + DAYS * DAY)]
    behaviour = rows["behaviour"].cast(str).to_numpy()
    single = {
        "users": len(users),
        "items": len(items),
        "categories": len(categories),
        "rows of a user, mean": len(rows) / len(users),
        "categories of a user, mean": rows.n_unique(["user", "category"]) / len(users),
        "rows of the first 1% of items": _top(items),
        "items of one row": np.mean(items == 1),
        "rows of the first 1% of categories": _top(categories),
        **{name: np.mean(behaviour == name) for name in BEHAVIOURS},
        "rows that repeat an item": len(item_lag) / len(rows),
        "rows until then, median": np.median(item_lag),
        "rows that repeat a category": len(category_lag) / len(rows),
        "of them in the next row": np.mean(category_lag == 1),
        "seconds to the next row, median": np.median(gap),
        "seconds to the next row, 95%": np.quantile(gap, 0.95),
        "times out of range": 1 - len(inside) / len(rows),
    }
    series = {
        "rows of a user": np.quantile(users, QUANTILES),
        "rows of an item": np.pad(items, (0, RANKS[-1]))[np.array(RANKS) - 1],
        "rows of a category": np.pad(categories, (0, RANKS[-1]))[np.array(RANKS) - 1],
        "repeats of an item": _shares(item_lag, 51)[2:],
        "repeats of a category": _shares(category_lag, 51)[1:],
        "days": _shares((inside - BEGIN) // DAY, DAYS),
        "hours": _shares((inside + CHINA) // 3600 % 24, 24),
    }
    return {name: np.ravel(value).tolist() for name, value in {**single, **series}.items()}


def _counts(rows: pl.DataFrame, name: str) -> Ints:
    """How many rows each value of a column has, the most first."""
    return np.sort(rows[name].value_counts()["count"].to_numpy().astype(np.int64))[::-1]


def _top(counts: Ints) -> float:
    """Share of all rows that the first hundredth has."""
    return float(counts[: len(counts) // 100].sum() / counts.sum())


def _steps(rows: pl.DataFrame, name: str, *by: str) -> Ints:
    """How much a column grows from one row of a user, and of one value of `by`, to the next."""
    return rows.select(pl.col(name).diff().over("user", *by)).to_series().drop_nulls().to_numpy()


def _shares(values: Ints, n: int) -> Floats:
    """How often each of 0 to n - 1 is among the values."""
    return np.bincount(values, minlength=n)[:n] / len(values)


def compare(folder: Path, seed: int) -> dict[str, Any]:
    """Figures of the real rows of a folder and of as many generated ones.

    Raises:
        KgrecError: The folder has no such rows.
    """
    found = sorted(folder.glob(REAL))
    if not found:
        raise KgrecError(f"{folder} has no {REAL}, the rows to compare with")
    real = pl.read_csv(found[0], has_header=False, new_columns=COLUMNS)
    return {
        "rows": len(real),
        "seed": seed,
        "real": figures(real),
        "generated": figures(pl.concat(generate(len(real), seed))),
        "charts": {
            name: {"across": across, "logarithmic": logarithmic, "places": list(places)}
            for name, (across, logarithmic, places) in CHARTS.items()
        },
        "commit": commit(),
    }


def main() -> None:
    """Compares; exits 1 on what fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path, metavar="DIR", help=f"a folder with {REAL}")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    try:
        found = compare(args.real, args.seed)
    except KgrecError as error:
        sys.exit(str(error))
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    for name in (name for name in found["real"] if name not in CHARTS):
        sides = (cell(found[side][name][0]) for side in ("real", "generated"))
        print(f"{name:36}" + "".join(f"{value:>12}" for value in sides))


if __name__ == "__main__":
    main()
