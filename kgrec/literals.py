"""Lines of JSON or of Python literals, read one by one where no columnar reader can."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

BATCH_LINES = 20_000
REJECTS = {"row": pl.Int64, "reason": pl.String, "content": pl.String}


def read_lines(
    path: Path, wanted: Sequence[str], *, python: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The wanted keys of every line that is a mapping, and the lines that are not.

    Args:
        path: A text file, plain, .gz or .zst; each line a JSON object or a Python literal.
        wanted: Top-level keys to keep.
        python: Whether a line that reads as both is a Python literal.

    Returns:
        A frame of String columns (lists and mappings as JSON text, null where a key is absent),
        and the rejected lines: row (from 1), reason, content.
    """
    frames: list[pl.DataFrame] = []
    rejects: list[pl.DataFrame] = []
    schema = dict.fromkeys(wanted, pl.String)
    for start, lines in _batches(path):
        columns: dict[str, list[str | None]] = {name: [] for name in wanted}
        bad: dict[str, list[Any]] = {"row": [], "reason": [], "content": []}
        for number, line in enumerate(lines, start):
            value = parse(line, python=python)
            if not isinstance(value, dict):
                bad["row"].append(number)
                bad["reason"].append("the line is not valid JSON" if line.strip() else "empty line")
                bad["content"].append(line)
                continue
            for name in wanted:
                columns[name].append(_text(value.get(name)))
        frames.append(pl.DataFrame(columns, schema=schema))
        if bad["row"]:
            rejects.append(pl.DataFrame(bad, schema=REJECTS))
    return (
        pl.concat(frames) if frames else pl.DataFrame(schema=schema),
        pl.concat(rejects) if rejects else pl.DataFrame(schema=REJECTS),
    )


def parse(line: str, *, python: bool) -> Any:
    """The value of a line of JSON or of a Python literal; None when it is neither.

    `ast.literal_eval` is safe but some ten times slower than a JSON parser, so JSON goes first
    where both give the same value; only a backslash can make them differ. A line with neither a
    backslash nor a double quote may have its single quotes swapped, since each of them opens or
    closes a string.
    """
    if "\\" in line:
        first, second = (_literal, _json) if python else (_json, _literal)
    else:
        first, second = _json, _literal
    value = first(line if '"' in line or "\\" in line else line.replace("'", '"'))
    return second(line) if value is None else value


def _json(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _literal(line: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about escapes such as \/ that Python keeps as they are
            return ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _text(value: Any) -> str | None:
    """A cell as text: strings as they are, everything else as JSON, as columnar readers give it."""
    if value is None:
        return None
    if isinstance(value, str):
        # A lone surrogate, which a Python literal may hold, cannot be written as UTF-8.
        return value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def _batches(path: Path) -> Iterator[tuple[int, list[str]]]:
    start = 1
    batches = pl.scan_lines(path, glob=False).collect_batches(
        chunk_size=BATCH_LINES, maintain_order=True
    )
    for batch in batches:
        lines = batch["line"].to_list()
        yield start, lines
        start += len(lines)
