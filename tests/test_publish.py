"""What `make benchmark` runs, and what it keeps."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from benchmark_result import result

ROOT = Path(__file__).parent.parent
GIFT_CARDS = "amazon-gift-cards-2018"


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/publish.py, keeping results in a folder of its own; nothing is fitted."""
    spec = importlib.util.spec_from_file_location("publish", ROOT / "benchmarks/publish.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "OUT", tmp_path / "out")
    module.commands = []
    module.codes = {}

    def stand_in(command: list[str], check: bool) -> Any:
        module.commands.append(command[1:])
        name = command[4] if "benchmark" in command else "tables"
        if "--out" in command:
            out = Path(command[command.index("--out") + 1])
            out.mkdir(parents=True, exist_ok=True)
            (out / "result.json").write_text(json.dumps(result()))
        return SimpleNamespace(returncode=module.codes.get(name, 0))

    monkeypatch.setattr(subprocess, "run", stand_in)
    return module


def run(publish: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[list[str]]:
    monkeypatch.setattr(sys, "argv", ["publish.py", *words])
    publish.main()
    commands: list[list[str]] = publish.commands
    return commands


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / GIFT_CARDS
    folder.mkdir(parents=True)
    for name in ("Gift_Cards_5.json", "meta_Gift_Cards.json.gz"):
        (folder / name).write_bytes(b"x")
    return folder.parent


def test_every_suite_whose_files_are_there(
    publish: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    commands = run(publish, monkeypatch, "--data", str(data), "--")
    out = str(publish.OUT / GIFT_CARDS)
    assert commands[0] == [
        "-m", "kgrec", "benchmark", GIFT_CARDS, "--data", str(data), "--out", out,
    ]  # fmt: skip
    assert [Path(command[0]).name for command in commands[1:]] == ["tables.py"]
    kept = json.loads((publish.RESULTS / f"suite-{GIFT_CARDS}.json").read_text())
    assert kept == result()
    assert "left out: amazon-book-kgat needs" in capsys.readouterr().err


def test_options_reach_the_command(
    publish: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (GIFT_CARDS, "--data", str(data), "--", "--trials", "5", "--set", "ranker.ridge=3")
    commands = run(publish, monkeypatch, *words)
    assert commands[0][-4:] == ["--trials", "5", "--set", "ranker.ridge=3"]


def test_a_suite_that_fails_is_said_and_the_others_go_on(
    publish: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.codes = {GIFT_CARDS: 1}
    with pytest.raises(SystemExit, match=f"could not run: {GIFT_CARDS}"):
        run(publish, monkeypatch, GIFT_CARDS, "last-fm", "--data", str(data))
    assert [path.name for path in publish.RESULTS.iterdir()] == ["suite-last-fm.json"]
    publish.codes = {GIFT_CARDS: 130}
    publish.commands.clear()
    with pytest.raises(SystemExit, match="130"):
        run(publish, monkeypatch, GIFT_CARDS, "taobao-multibehavior", "--data", str(data))
    assert len(publish.commands) == 1


def test_no_suite_is_an_error(
    publish: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="has the files of no suite"):
        run(publish, monkeypatch, "--data", str(tmp_path / "empty"))
