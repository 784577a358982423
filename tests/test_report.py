"""Report blocks: escaped, self-contained, the same bytes each time."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser

import pytest

from kgrec import report
from kgrec.errors import MissingExtraError, ShapeError
from kgrec.report import (
    Section,
    cell,
    check_installed,
    facts,
    heading,
    page,
    paragraph,
    table,
)
from kgrec.report_charts import bar_chart, line_chart


class Balance(HTMLParser):
    """Fails on an element that is closed out of turn; keeps every attribute value."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def whole_page() -> str:
    bars = bar_chart(["recall", "nDCG"], {"ours": [0.2, 0.3], "theirs": [0.1, 0.2]}, alt="bars")
    lines = line_chart([1, 2, 3], {"a": [3, 2, 1]}, alt="lines", shaded=(2, 3), labels=("x", "y"))
    blocks = (paragraph("a < b & c"), heading("<h>"), facts([(1234, "items")]), bars, lines)
    rows = table(["name", "n"], [["<script>x</script>", 1], [None, 2.5]], strong=[1], caption="<c>")
    return page("T <1>", "lead", [Section("S & S", (*blocks, rows))], "end")


def test_a_page_is_whole_escaped_and_needs_nothing_else() -> None:
    html = whole_page()
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert "<script" not in html
    assert "a &lt; b &amp; c" in html
    assert parser.values
    assert all(value.startswith("data:image/svg+xml;base64,") for value in parser.values)
    assert not re.search(r"@import|url\(|<link", html)
    assert "1,234" in html


def test_the_same_report_has_the_same_bytes() -> None:
    assert whole_page() == whole_page()


def test_numbers_stand_right_and_text_left() -> None:
    made = str(table(["name", "n"], [["a", 1], ["b", None]]))
    assert made.count('class="number"') == 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (float("nan"), "–"), (1234567, "1,234,567"), (0.05678, "0.0568"), (12.34, "12.3"),
     ("x", "x")],
)  # fmt: skip
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_rows_that_do_not_fit_the_header_are_refused() -> None:
    with pytest.raises(ShapeError, match="row 1 has 1 cells"):
        table(["a", "b"], [[1, 2], [3]])


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"jinja2.*kgrec\[demo\]"):
        check_installed()
    assert importlib.util.find_spec("jinja2") is not None


def test_a_page_is_for_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in whole_page()


def test_text_that_shows_a_figure_stands_right_too() -> None:
    rows = [["a", "0.20 [0.19, 0.21]", "", "4 kg"], ["b", None, "", "12.5%"]]
    assert str(table(["name", "n", "empty", "mixed"], rows)).count('class="number"') == 3
    assert str(table(["n"], [["-1,234.5"], ["+0.1 [0, 1]"], ["7%"]])).count("number") == 4
