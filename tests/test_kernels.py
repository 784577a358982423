from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import kgrec


def kernels() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted(Path(kgrec.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                "njit" in ast.unparse(by) for by in node.decorator_list
            ):
                yield f"{path.name}: {node.name}", node


def test_kernels_that_are_cached_do_not_mix_the_two_quicksorts() -> None:
    """np.sort and np.argsort of one type have one symbol, so that two cached kernels of which each
    has one of them, compiled by different processes, call each other's: a segmentation fault."""
    found = list(kernels())
    assert len(found) > 20
    for name, kernel in found:
        for call in ast.walk(kernel):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("argsort"):
                kind = [ast.unparse(word.value) for word in call.keywords if word.arg == "kind"]
                assert kind == ["'mergesort'"], f"{name}: np.argsort needs kind='mergesort'"
