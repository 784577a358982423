"""Generated rows against the original ones, their order, their bytes, and what cannot be asked."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
REAL = {
    "rows of a user, mean": (101.4, 0.05),
    "categories of a user, mean": (24.6, 0.1),
    "items of one row": (0.68, 0.1),  # 0.74 of 84,475 rows, fewer of more
    "pv": (0.898, 0.01),
    "cart": (0.0532, 0.1),
    "fav": (0.0279, 0.1),
    "buy": (0.0207, 0.1),
    "rows that repeat an item": (0.2425, 0.05),
    "rows until then, median": (6, 0.2),
    "rows that repeat a category": (0.762, 0.03),
    "of them in the next row": (0.536, 0.1),
    "seconds to the next row, median": (75, 0.15),
    "times out of range": (0.0004, 0.5),
}
"""Figures of the original's sample of whole users, and how far off generated ones may be."""


def script(name: str) -> ModuleType:
    """A script of benchmarks/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # compiled functions are kept under the name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def taobao() -> ModuleType:
    return script("generate_taobao")


@pytest.fixture(scope="module")
def comparison(taobao: ModuleType) -> ModuleType:
    return script("compare_taobao")  # which imports the other by its name


@pytest.fixture(scope="module")
def rows(taobao: ModuleType) -> pl.DataFrame:
    blocks: list[pl.DataFrame] = list(taobao.generate(200_000, 3))
    return pl.concat(blocks)


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *words])
    module.main()


def test_a_longer_file_begins_with_a_shorter_one(
    taobao: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {}
    for n, seed in ((1, 7), (999, 7), (999, 8), (250_000, 7)):
        out = tmp_path / f"{n}-{seed}.csv"
        run(taobao, monkeypatch, "--rows", str(n), "--seed", str(seed), "--out", str(out))
        written[n, seed] = out.read_bytes()
        assert written[n, seed].count(b"\n") == n
    assert written[999, 7].startswith(written[1, 7])
    assert written[250_000, 7].startswith(written[999, 7])  # of two blocks of users
    assert written[999, 8] != written[999, 7]
    again = tmp_path / "again.csv"
    taobao.write(250_000, 7, again)
    assert again.read_bytes() == written[250_000, 7]
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv"}  # nothing half written


def test_users_come_one_after_another_by_time(rows: pl.DataFrame, taobao: ModuleType) -> None:
    assert rows.columns == list(taobao.COLUMNS)
    assert rows.select("user", "time").equals(rows.select("user", "time").sort("user", "time"))
    assert rows.group_by("item").agg(pl.col("category").n_unique())["category"].max() == 1
    assert set(rows["behaviour"].unique()) == set(taobao.BEHAVIOURS)
    for name in ("user", "item", "category"):
        assert 1 <= rows[name].min() <= rows[name].max() < 5_200_000  # type: ignore[operator]


def test_figures_are_those_of_the_original(rows: pl.DataFrame, comparison: ModuleType) -> None:
    found = comparison.figures(rows)
    for name, (value, tolerance) in REAL.items():
        assert found[name] == [pytest.approx(value, rel=tolerance)], name
    assert found["hours"][21] == max(found["hours"])
    assert found["days"][7] == pytest.approx(0.136, abs=0.02)


def test_the_catalogue_has_the_size_of_the_original(taobao: ModuleType) -> None:
    shop = taobao.open_shop()
    assert len(shop.share) == 9439
    assert shop.share[-1] == pytest.approx(1)
    assert 4_162_024 < shop.begin[-1] < 5_163_077  # more than occur, fewer than ids


def test_figures_by_hand(taobao: ModuleType, comparison: ModuleType) -> None:
    begin = taobao.BEGIN
    rows = [
        (1, 5, 50, "pv", begin - 60), (1, 6, 50, "pv", begin), (1, 5, 50, "buy", begin + 86_400),
        (2, 5, 50, "pv", begin + 3600),
    ]  # fmt: skip
    found = comparison.figures(pl.DataFrame(rows, schema=taobao.COLUMNS, orient="row"))
    expected = {
        "users": 2, "items": 2, "categories": 1, "items of one row": 0.5, "pv": 0.75, "buy": 0.25,
        "rows that repeat an item": 0.25, "rows until then, median": 2,
        "rows that repeat a category": 0.5, "of them in the next row": 1,
        "times out of range": 0.25,
    }  # fmt: skip
    assert {name: found[name][0] for name in expected} == expected
    assert found["repeats of an item"][:2] == [1, 0]
    assert found["rows of an item"][:3] == [3, 1, 0]
    assert found["days"][:2] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert found["hours"][:2] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


def test_the_real_rows_beside_generated_ones(
    comparison: ModuleType, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shared_data / "taobao-userbehavior"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    out = tmp_path / "generated.json"
    monkeypatch.setattr(comparison, "RESULT", out)
    run(comparison, monkeypatch, str(folder))
    said = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    table = {name: (real, generated) for name, real, generated in said}
    assert table["users"][0] == "815"
    for name, both in table.items():
        real, generated = (float(value.replace(",", "")) for value in both)
        assert generated == pytest.approx(real, rel=0.5 if "range" in name else 0.2), name
    found = json.loads(out.read_text())
    for name, chart in found["charts"].items():
        assert len(chart["places"]) == len(found["real"][name]) == len(found["generated"][name])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "0", "--out", "a.csv"], "--rows 0: ask for 1 or more"),
        (["--rows", "5", "--seed", "-1", "--out", "a.csv"], "--seed -1: take one from 0"),
        (["--rows", "5", "--out", "absent/a.csv"], "there is no folder absent; make it first"),
        (["--out", "a.csv"], "the following arguments are required: --rows"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    taobao: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(taobao, monkeypatch, *words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_folder_without_real_rows_is_an_error(
    comparison: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="has no UserBehavior"):
        run(comparison, monkeypatch, str(tmp_path))
