"""A knowledge graph of the size that KGAT published loads whole, in little memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/read_kgat.py."""
    spec = importlib.util.spec_from_file_location("read_kgat", ROOT / "benchmarks/read_kgat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "read_kgat", module)  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def check(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize("seed", [7, 8])
def test_small_files_are_read_back(script: ModuleType, tmp_path: Path, seed: int) -> None:
    size = script.Size(users=50, items=40, entities=90, relations=5, triples=600, interactions=400)
    wanted = script.write_files(tmp_path, size, seed)
    assert sum(wanted["edges"].values()) == 600
    check(script.read(tmp_path), wanted)


@pytest.mark.slow
def test_the_full_graph_of_kgat_loads(script: ModuleType, tmp_path: Path) -> None:
    wanted = script.write_files(tmp_path)
    assert sum(wanted["edges"].values()) == 2_557_746
    assert len(wanted["edges"]) == 39
    assert (wanted["items"], wanted["entities"]) == (24_915, 113_487)
    edges = sorted(wanted["edges"].values())
    assert edges[-1] > 10 * edges[0]  # skewed, as the original is
    found = script.measure(tmp_path)
    check(found, wanted)
    assert found["peak_gib"] < 2.5
