"""What changed between two results of one suite, and whether it is more than noise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kgrec.benchmark.compare_lists import metric_by_user
from kgrec.benchmark.render_reading import (
    ALPHA,
    STAGES,
    Result,
    Row,
    figure,
    headline,
    is_done,
    p_words,
    peak_gib,
    seconds,
)
from kgrec.benchmark.statistics import Values, against, holm
from kgrec.errors import DataError, KgrecError

Folders = tuple[Path | None, Path | None]

FORMAT = 1
PAIRED = "paired by user, from both sets of lists"
APART = (
    "from the two intervals, as if the users were others: a difference has to be larger to count"
)
_MADE = (
    "kgrec", "commit", "data_sha256", "suite_sha256", "options", "trials", "seeds", "limits",
    "hardware",
)  # fmt: skip
_Z = 1.959964
"""Of a 95% interval."""


def read_result(path: Path) -> dict[str, Any]:
    """A result.json, or the one of an OUT folder.

    Raises:
        DataError: There is none, or it is not JSON.
    """
    file = path / "result.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}); give a result.json, or the folder of one"
        ) from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{file} is not a result of kgrec benchmark")
    return found


def differences(
    a: Result | Path, b: Result | Path, *, folders: Folders = (None, None)
) -> dict[str, Any]:
    """Everything that differs, for a machine.

    Args:
        a: The older result, or its file or folder.
        b: The newer one.
        folders: Where the lists of each lie (the OUT folders); beside the file where one is given.
            With both, rows are tested on the users' own differences; without, from the intervals
            in the results.

    Returns:
        `suite`; `made`, what differs of version, commit, data, suite, options and hardware as
        [a, b]; `added` and `removed` rows; `rows`, by name: `status`, `metrics` (by metric `a`,
        `b`, `difference`, and for headline metrics `p`, `p_holm`, `how`, `noise`), `seconds` and
        `peak_gib` as [a, b, b / a].

    Raises:
        DataError: A file cannot be read, or is no result.
        KgrecError: They are of another format or of different suites, or one is not whole.
    """
    folders = (folders[0] or _folder(a), folders[1] or _folder(b))
    old, new = (read_result(one) if isinstance(one, Path) else one for one in (a, b))
    _check(old, new)
    rows_a, rows_b = ({row["name"]: row for row in result["rows"]} for result in (old, new))
    watched = [metric for metric in headline(old) if metric in headline(new)]
    both = [name for name in rows_a if name in rows_b]
    rows = {name: _row(rows_a[name], rows_b[name], watched, folders) for name in both}
    _correct(rows)
    return {
        "suite": old["suite"]["name"],
        "made": dict(_made(old.get("made", {}), new.get("made", {}))),
        "added": [name for name in rows_b if name not in rows_a],
        "removed": [name for name in rows_a if name not in rows_b],
        "rows": rows,
    }


def compare(a: Result | Path, b: Result | Path, *, folders: Folders = (None, None)) -> str:
    """The same as `differences`, as lines for a person.

    Raises:
        DataError: A file cannot be read, or is no result.
        KgrecError: They are of another format or of different suites, or one is not whole.
    """
    return "\n".join(_lines(differences(a, b, folders=folders)))


def _folder(result: Result | Path) -> Path | None:
    if not isinstance(result, Path):
        return None
    return result if result.is_dir() else result.parent


def _check(a: Result, b: Result) -> None:
    for which, result in (("first", a), ("second", b)):
        if result.get("format") != FORMAT:
            raise KgrecError(
                f"the {which} result has format {result.get('format')}, and this kgrec compares "
                f"format {FORMAT}: run that benchmark again, or use the kgrec that made it"
            )
        missing = [key for key in ("suite", "rows") if key not in result]
        if missing:
            raise KgrecError(f"the {which} result lacks {', '.join(missing)}: it is not whole")
    names = a["suite"]["name"], b["suite"]["name"]
    if names[0] != names[1]:
        raise KgrecError(
            f"the results are of different suites, {names[0]} and {names[1]}, whose figures say "
            "nothing about each other: give two results of one suite"
        )


def _made(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for key in _MADE:
        if a.get(key) != b.get(key):
            yield key, [a.get(key), b.get(key)]
    versions = [made.get("versions", {}) for made in (a, b)]
    for name in sorted({*versions[0], *versions[1]}):
        pair = [version.get(name) for version in versions]
        if pair[0] != pair[1]:
            yield f"versions.{name}", pair


def _row(a: Row, b: Row, watched: Sequence[str], folders: Folders) -> dict[str, Any]:
    if not (is_done(a) and is_done(b)):
        return {"status": [a["status"], b["status"]], "metrics": {}}
    lists = metric_by_user(a, b, watched, folders)
    metrics: dict[str, dict[str, Any]] = {}
    for name in a["metrics"]:
        pair = figure(a, name), figure(b, name)
        if pair[0] is None or pair[1] is None:
            continue
        metrics[name] = {"a": pair[0], "b": pair[1], "difference": pair[1] - pair[0]}
        if name in lists:
            metrics[name] |= _paired(*lists[name], _seed_variance(a, b, name))
        elif name in watched:
            metrics[name] |= {"p": _p_of_intervals(a, b, name), "how": APART}
    return {
        "status": [a["status"], b["status"]],
        "metrics": metrics,
        "seconds": _ratio(seconds(a, *STAGES), seconds(b, *STAGES)),
        "peak_gib": _ratio(peak_gib(a), peak_gib(b)),
    }


def _paired(old: list[Values], new: list[Values], seed_variance: float) -> dict[str, Any]:
    """The paired test; where seeds move the means, that is noise too and widens it."""
    found: dict[str, Any] = {**against(new, old), "how": PAIRED}
    if seed_variance:
        of_users = ((found["high"] - found["low"]) / (2 * _Z)) ** 2
        found["p"] = _p_value(found["difference"], of_users + seed_variance)
    return found


def _p_of_intervals(a: Row, b: Row, metric: str) -> float | None:
    """Two-sided p of a z-test whose errors are those of the intervals and of the seeds."""
    variance = _seed_variance(a, b, metric)
    for row in (a, b):
        low, high = figure(row, metric, "low"), figure(row, metric, "high")
        if low is None or high is None:
            return None
        variance += ((high - low) / (2 * _Z)) ** 2
    return _p_value((figure(b, metric) or 0.0) - (figure(a, metric) or 0.0), variance)


def _seed_variance(a: Row, b: Row, metric: str) -> float:
    """Of the difference of two means over seeds; 0 where each has one seed."""
    return sum(
        (figure(row, metric, "std") or 0.0) ** 2 / max(len(row["seeds"]), 1) for row in (a, b)
    )


def _p_value(difference: float, variance: float) -> float:
    if variance == 0:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def _correct(rows: Mapping[str, dict[str, Any]]) -> None:
    """Adds to each test what Holm makes of it, over all of them, and whether it is noise."""
    tests = {
        (name, metric): found
        for name, row in rows.items()
        for metric, found in row["metrics"].items()
        if found.get("p") is not None
    }
    corrected = holm({"\n".join(key): found["p"] for key, found in tests.items()})
    for key, found in tests.items():
        found["p_holm"] = corrected["\n".join(key)]
        found["noise"] = found["p_holm"] >= ALPHA


def _ratio(a: float | None, b: float | None) -> list[float | None]:
    return [a, b, b / a if a and b is not None else None]


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"suite {found['suite']}: what changed from the first result to the second"
    for key, (old, new) in found["made"].items():
        yield f"  {key}: {_short(old)} -> {_short(new)}"
    if not found["made"]:
        yield "  version, commit, data, suite, options and hardware are the same"
    elif "data_sha256" in found["made"]:
        yield "  the data differ, so a difference below may be that of the data"
    for what in ("added", "removed"):
        if found[what]:
            yield f"  rows {what}: {', '.join(found[what])}"
    for name, row in found["rows"].items():
        yield from _row_lines(name, row)
    how = {
        m["how"] for row in found["rows"].values() for m in row["metrics"].values() if "how" in m
    }
    yield from (f"tests: {words}" for words in sorted(how))


def _row_lines(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    if row["status"] != ["done", "done"]:
        yield f"{name}: {row['status'][0]} -> {row['status'][1]}"
        return
    yield name
    for metric, found in row["metrics"].items():
        if "how" in found:
            said = f"  {metric}  {found['a']:.4f} -> {found['b']:.4f} ({found['difference']:+.4f})"
            yield f"{said}  {_verdict(found)}"
    for key, unit in (("seconds", "s"), ("peak_gib", "GiB")):
        old, new, ratio = row[key]
        if ratio is not None:
            yield f"  {key}  {old:,.1f} -> {new:,.1f} {unit} (x {ratio:.2f})"


def _verdict(found: Mapping[str, Any]) -> str:
    if found.get("p_holm") is None:
        return "no interval, so it cannot be told from noise"
    p = f"{p_words(found['p_holm'])} after Holm"
    if found["difference"] == 0:
        return "the same"
    if found["noise"]:
        return f"noise ({p})"
    return f"{'better' if found['difference'] > 0 else 'WORSE'} ({p})"


def _short(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)[:16]
