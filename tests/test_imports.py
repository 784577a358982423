"""Imports run one way along the chain, and starting the command line loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kgrec

PACKAGE = Path(kgrec.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports when it is loaded."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kgrec"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("kgrec.")}
    return found


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def test_imports_run_one_way() -> None:
    graph = {name: imports_of(path) - {name, "kgrec"} for name, path in MODULES.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert order.index("kgrec.errors") < order.index("kgrec.pipeline")


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_public_names_are_pinned() -> None:
    assert sorted(kgrec.__all__) == [
        "Config", "KgrecError", "Recommender", "Schema", "Shop", "__version__", "fit", "load",
        "load_model",
    ]  # fmt: skip
    for name in kgrec.__all__:
        assert getattr(kgrec, name) is getattr(kgrec, name)
    assert callable(kgrec.load)
    assert callable(kgrec.fit)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recomend'"):
        _ = kgrec.recomend


def test_importing_kgrec_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "polars", "pandas", "faiss", "numba")
    code = f"import sys, kgrec, kgrec.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
