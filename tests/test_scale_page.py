"""The page of scale says what the results say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/scale_page.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # it imports its neighbours
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fit(rows: int, seconds: float) -> dict[str, object]:
    """A result of fit_scale.py: stages of a tenth, two tenths and seven tenths of `seconds`."""
    stages = [["start", 0], ["counts", 0.1 * seconds], ["ranker", 0.2 * seconds],
              ["counts", 0.9 * seconds]]  # fmt: skip
    one = {"seconds": seconds, "peak_gib": 1e-6 * rows, "memory": [[0, 0], [seconds, 2.0]]}
    return {
        "rows": rows, "options": [], "prepare": one, "recommend": one,
        "fit": one | {"stages": stages},
    }  # fmt: skip


def test_the_page_in_docs_is_of_these_results(
    page: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale_page.py", "--check"])
    page.main()


def test_a_page_that_differs_is_said_so(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "scale")
    monkeypatch.setattr(sys, "argv", ["scale_page.py"])
    page.main()
    (tmp_path / "scale.md").write_text("another")
    monkeypatch.setattr(sys, "argv", ["scale_page.py", "--check"])
    with pytest.raises(SystemExit, match=r"scale\.md differs"):
        page.main()


def test_stages_that_come_twice_are_added_up(page: ModuleType) -> None:
    found = page.stages(fit(1000, 10.0))
    assert found == pytest.approx(
        {"read and code": 10, "start and load": 1, "counts": 2, "ranker": 7}
    )


def test_exponents_are_between_neighbouring_sizes(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    for rows, seconds in ((1_000_000, 10.0), (10_000_000, 100.0), (100_000_000, 10_000.0)):
        (tmp_path / f"fit-{rows}.json").write_text(json.dumps(fit(rows, seconds)))
    grid = next(page.fitting())
    counts = next(row for row in grid.rows if row[0] == "counts")
    assert counts[1:] == ["2.00 (10%)", "20.0 (10%)", "2,000 (10%)", "1.00", "2.00"]


def test_a_billion_is_the_measured_rates_times_what_they_grow_with(page: ModuleType) -> None:
    measured = fit(10**8, 1000.0) | {"shape": {"n_items": 5 * 10**6}}
    kept = {"fit": {"seconds": 90.0, "stages": [["graph network", 18.0], ["ranker", 54.0]]}}
    round_ = {"ivf": {"seconds_0.95": 10.0}}
    lists = {"users": 10_000, "items": 500_000, "rounds": [round_, round_]}
    table = next(p for p in page.plan(measured, kept, lists) if hasattr(p, "rows"))
    hours = {row[0]: row[4] for row in table.rows}
    assert hours["read and code"] == "5.6"  # 1000 s, two cores, ten times the rows
    assert hours["counts, for the search"] == "0.1"  # 100 s, whatever the rows
    assert hours["graph network, final"] == "0.2"  # 36 s
    assert hours["ranker"] == "3.9"  # 700 s, ten times the items
    assert hours["lists of 100, IVF at 0.95"] == "556"  # 10^8 users, ten times slower
    assert list(page.plan(None, kept, lists)) == []
