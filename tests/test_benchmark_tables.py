"""The README's table of a suite says what its result says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_result import one_row_result, pairs_result, result

ROOT = Path(__file__).parent.parent


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/tables.py, reading results from a folder of its own."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_the_table_of_a_suite(tables: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "suite-tiny.json").write_text(json.dumps(result()))
    made = tables.tables().splitlines()
    assert "**Tiny, leave-last-out** (2 cores, 24 GiB)" in made
    at = made.index("| model | recall@20 | nDCG@20 | tune + fit + lists, peak memory |")
    assert made[at + 1 : at + 9] == [
        "|---|---|---|---|",
        "| KGRec, published, not rerun | 0.1724 | 0.0973 | |",
        "| popularity | 0.0300 ± 0.0040 | 0.0150 ± 0.0020 | 0 + 12 + 3 s, 1.2 GiB |",
        "| item-kNN | 0.1500 ± 0.0040 | 0.0750 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "| EASE, best baseline | 0.1800 ± 0.0040 | 0.0900 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "| **kgrec** | 0.2000 ± 0.0040 | 0.1000 ± 0.0020 | 40 + 12 + 3 s, 1.2 GiB |",
        "",
        "kgrec less the best baseline, paired by user: recall@20 +0.0200 [+0.0170, +0.0230] "
        "(p < 0.0001); nDCG@20 +0.0100 [+0.0080, +0.0120] (p < 0.0001).",
    ]


def test_suites_with_less(tables: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "suite-a.json").write_text(json.dumps(pairs_result()))
    failed = one_row_result()
    failed["rows"][0] |= {"status": "out of time", "metrics": {}, "seeds": []}
    (tmp_path / "suite-b.json").write_text(json.dumps(failed))
    made = tables.tables()
    assert "| **kgrec** | 0.7600 ± 0.0100 |" in made
    assert "| **kgrec**: out of time | | | |" in made


def test_the_best_baseline_may_differ_by_metric(tables: ModuleType) -> None:
    made = result()
    made["best_baseline"]["nDCG@20"] = "item-kNN"
    said = "\n".join(tables.suite(made))
    assert "| EASE, best baseline by recall@20 |" in said
    assert "| item-kNN, best baseline by nDCG@20 |" in said


def test_without_results_there_are_only_the_markers(tables: ModuleType) -> None:
    assert tables.tables() == f"{tables.BEGIN}\n\n{tables.END}"
