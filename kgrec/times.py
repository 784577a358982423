"""Times as tables write them, as unix seconds."""

from __future__ import annotations

import polars as pl

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def whole_number(text: pl.Expr) -> pl.Expr:
    """The text as a whole number, floored where it has a point; null where it is none."""
    return text.map_batches(_whole_number, return_dtype=pl.Int64, is_elementwise=True)


def _whole_number(text: pl.Series) -> pl.Series:
    """The same of some rows; points and blanks are looked for only where plain digits fail."""
    plain = text.cast(pl.Int64, strict=False)
    if plain.null_count() == text.null_count():
        return plain
    text = text.str.strip_chars()
    floored = text.cast(pl.Float64, strict=False).floor().cast(pl.Int64, strict=False)
    return pl.select(pl.coalesce(text.cast(pl.Int64, strict=False), floored)).to_series()


def unix_seconds(column: str, unit: str) -> pl.Expr:
    """Unix seconds, floored; null where the text is not a time. No zone means UTC."""
    if unit in _PER_SECOND:
        return whole_number(pl.col(column)) // _PER_SECOND[unit]
    text = pl.col(column).str.strip_chars()
    if unit != "iso":
        return text.str.strptime(pl.Datetime("us"), unit, strict=False).dt.epoch("s")
    plain = text.str.replace("T", " ", literal=True).str.replace(r"\s*(Z|[+-]00:?00)$", "")
    zoned = text.str.replace("T", " ", literal=True).str.strptime(
        pl.Datetime("us", "UTC"), "%Y-%m-%d %H:%M:%S%.f%#z", strict=False
    )
    naive = [plain.str.strptime(pl.Datetime("us"), form, strict=False) for form in _ISO]
    return pl.coalesce(*(time.dt.epoch("s") for time in naive), zoned.dt.epoch("s"))
