"""The tables of results say what the results say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_result import one_row_result, pairs_result, result

ROOT = Path(__file__).parent.parent


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/tables.py, in a project of its own."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{module.BEGIN}\nold\n{module.END}\nafter\n")
    (tmp_path / "docs").mkdir()
    return module


def test_the_summary_has_one_line_a_suite(tables: ModuleType) -> None:
    made = list(tables.summary([result()]))
    assert len(made) == 3
    assert made[2] == (
        "| Tiny, leave-last-out | recall@20 / nDCG@20 | 0.1724 / 0.0973 KGRec "
        "| 0.1800 / 0.0900 EASE | **0.2000 / 0.1000** | +0.0100 [+0.0080, +0.0120] "
        "| 40 + 12 + 3 s, 1.2 GiB |"
    )


def test_the_page_has_every_row(tables: ModuleType) -> None:
    made = list(tables.suite(result()))
    assert made[0] == "\n## Tiny, leave-last-out\n"
    text = "\n".join(made)
    for line in (
        "| KGRec, published, not rerun | 0.1724 | 0.0973 | |",
        "| popularity | 0.0300 ± 0.0040 | 0.0150 ± 0.0020 | 0 + 12 + 3 s, 1.2 GiB |",
        "| item-kNN | 0.1500 ± 0.0040 | 0.0750 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "| EASE, best baseline | 0.1800 ± 0.0040 | 0.0900 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "| **kgrec** | 0.2000 ± 0.0040 | 0.1000 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "kgrec less the best baseline, paired by user: recall@20 +0.0200 [+0.0170, +0.0230] "
        "(p < 0.0001); nDCG@20 +0.0100 [+0.0080, +0.0120] (p < 0.0001).",
    ):
        assert line in text
    assert text.index("| EASE") < text.index("| **kgrec** |") < text.index("| kgrec, ")
    for row in result()["rows"]:
        assert f"{row['name']}" in text


def test_openings_beyond_the_first_are_said(tables: ModuleType) -> None:
    made = result() | {"openings": {"kgrec seed 7": 3, "EASE seed 7": 1}}
    said = "\n".join(tables.suite(made))
    assert "opened more than once for kgrec seed 7 3 times." in said
    once = result() | {"openings": {"kgrec seed 7": 1}}
    assert "more than once" not in "\n".join(tables.suite(once))


def test_suites_with_less(tables: ModuleType) -> None:
    failed = one_row_result()
    failed["rows"][0] |= {"status": "out of time", "metrics": {}, "seeds": []}
    assert "| **kgrec** | 0.7600 ± 0.0100 |" in "\n".join(tables.suite(pairs_result()))
    assert "| **kgrec**: out of time | | | |" in "\n".join(tables.suite(failed))
    assert len(list(tables.summary([pairs_result(), failed]))) == 4


def test_the_best_baseline_may_differ_by_metric(tables: ModuleType) -> None:
    made = result()
    made["best_baseline"]["nDCG@20"] = "item-kNN"
    said = "\n".join(tables.suite(made))
    assert "| EASE, best baseline by recall@20 |" in said
    assert "| item-kNN, best baseline by nDCG@20 |" in said


def test_pages_are_written_and_checked(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite-tiny.json").write_text(json.dumps(result()))
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    with pytest.raises(SystemExit, match=r"README\.md differs"):
        tables.main()
    monkeypatch.setattr(sys, "argv", ["tables.py"])
    tables.main()
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert "old" not in readme
    assert "0.2000 / 0.1000" in readme
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    tables.main()
    (tmp_path / "docs" / "results.md").write_text("another")
    with pytest.raises(SystemExit, match=r"results\.md differs"):
        tables.main()


def test_without_results_there_are_only_the_markers(tables: ModuleType) -> None:
    page = tables.pages()[tables.ROOT / "README.md"]
    assert page == f"before\n{tables.BEGIN}\n{tables.END}\nafter\n"
