"""Charts of a report: every series is drawn, lengths are checked."""

from __future__ import annotations

import base64
import re

import pytest

from kgrec.errors import ShapeError
from kgrec.report_charts import bar_chart, line_chart, scatter_chart


def test_charts_draw_every_series_and_both_kinds_of_axis() -> None:
    chart = line_chart([1, 10, 100], {"a": [9, 3, 1]}, alt="l", logarithmic=True, caption="words")
    found = re.search(r"base64,([^\"]+)", str(chart))
    assert found
    assert b"<svg" in base64.b64decode(found[1])
    assert "words" in str(chart)


def test_named_points_keep_clear_of_each_other() -> None:
    points = {"ours": [("kgrec", 100.0, 0.2)], "theirs": [("EASE", 101.0, 0.2), ("kNN", 9.0, 0.1)]}
    found = re.search(r"base64,([^\"]+)", str(scatter_chart(points, alt="p", labels=("s", "r"))))
    assert found
    drawn = base64.b64decode(found[1]).decode()
    assert all(f"<!-- {name} -->" in drawn for name in ("kgrec", "EASE", "kNN"))
    with pytest.raises(ShapeError, match="'free' stands at 0"):
        scatter_chart({"ours": [("free", 0, 0.1)]}, alt="")


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match="'ours' has 1 values for 2 groups"):
        bar_chart(["a", "b"], {"ours": [1]}, alt="")
    with pytest.raises(ShapeError, match="'ours' has 1 values for 2"):
        line_chart([1, 2], {"ours": [1]}, alt="")
