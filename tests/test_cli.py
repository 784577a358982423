from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_source import FakeRecommender, FakeSource

from kgrec import cli
from kgrec.artefact import write_folder
from kgrec.atomic import claim
from kgrec.engine import LOCAL
from kgrec.errors import ArtefactError, DataError, KgrecError, SchemaError
from kgrec.graph import KnowledgeGraph
from kgrec.shop import LoadReport, Shop

HERE = Path(__file__).parent


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder; `load_model` gives a FakeRecommender for it and refuses any other."""
    path = tmp_path / "model"
    write_folder(path, lambda folder: None, {"seed": 7})
    fake = ModuleType("kgrec.recommender")

    def load_model(asked: Path) -> FakeRecommender:
        if asked != path:
            raise ArtefactError(f"there is no model at {asked}")
        return FakeRecommender()

    fake.load_model = load_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kgrec.recommender", fake)
    return path


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kgrec(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.main([str(arg) for arg in args])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
from kgrec.cli import build_parser
def helps(parser):
    parser.format_help()
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for inner in action.choices.values():
                assert inner.format_help()
                helps(inner)
helps(build_parser())
print({"numpy", "pandas", "polars", "scipy", "torch", "transformers", "faiss"} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_wrong_use_is_exit_code_2(kgrec: Said) -> None:
    for wrong in [
        [],
        ["fti"],
        ["fit", "data"],
        ["recommend", "m", "-k", "0"],
        ["recommend", "m", "-k", "x"],
        ["recommend", "m", "--user", "a", "--history", "b"],
        ["evaluate", "m", "-k", "5,0"],
        ["data"],
    ]:
        code, out, err = kgrec(*wrong)
        assert code == 2
        assert out == ""
        assert "usage: kgrec" in err


def test_version(kgrec: Said) -> None:
    assert kgrec("--version")[1].startswith("kgrec 0.")


def test_lists_for_everybody_include_what_was_held_out(
    model: Path, kgrec: Said, tmp_path: Path
) -> None:
    code, out, err = kgrec("recommend", model, "-k", 10, "--out", tmp_path / "all.parquet")
    assert (code, out) == (0, "")
    assert "histories include the 1 interactions held out for `kgrec evaluate`" in err
    assert "--history-part train" in err
    assert "230 rows are in" in err or "229 rows are in" in err
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert table["user_id"].n_unique() == 23
    assert "i,9" not in table.filter(pl.col("user_id") == "003")["item_id"].to_list()

    kgrec("recommend", model, "-k", 10, "--history-part", "train", "--out", tmp_path / "t.parquet")
    table = pl.read_parquet(tmp_path / "t.parquet")
    assert "i,9" in table.filter(pl.col("user_id") == "003")["item_id"].to_list()
    assert "i,3" not in table.filter(pl.col("user_id") == "003")["item_id"].to_list()

    kgrec("recommend", model, "-k", 11, "--keep-seen", "--out", tmp_path / "k.parquet")
    assert len(pl.read_parquet(tmp_path / "k.parquet")) == 23 * 11


def test_lists_in_shards(model: Path, kgrec: Said, tmp_path: Path) -> None:
    code, _, _ = kgrec("recommend", model, "-k", 3, "--shards", 3, "--out", tmp_path / "lists")
    assert code == 0
    assert len(list((tmp_path / "lists").glob("part-*.parquet"))) == 3
    code, _, err = kgrec("recommend", model, "-k", 3, "--shards", 3, "--out", tmp_path / "lists")
    assert "holds these lists already" in err


def test_lists_for_some_are_printed(model: Path, kgrec: Said) -> None:
    code, out, _ = kgrec("recommend", model, "-k", 2, "--user", "005", "--user", "001")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["user_id", "item_id", "score", "rank", "title"]
    assert [line.split()[0] for line in lines[1:]] == ["005", "005", "001", "001"]
    assert "Thing " in lines[1]
    rows = json.loads(kgrec("recommend", model, "-k", 2, "--user", "005", "--json")[1])
    assert [row["rank"] for row in rows] == [1, 2]
    assert set(rows[0]) == {"user_id", "item_id", "score", "rank", "title"}


@pytest.mark.parametrize("name", ["users.txt", "users", "users.csv", "users.parquet"])
def test_users_of_a_file(model: Path, kgrec: Said, tmp_path: Path, name: str) -> None:
    file, table = tmp_path / name, pl.DataFrame({"n": [1, 2, 3], "user_id": ["007", "002", "007"]})
    if name.endswith(".csv"):
        table.write_csv(file)
    elif name.endswith(".parquet"):
        table.write_parquet(file)
    else:
        file.write_text("007\n\n 002\r\n007")
    code, _, err = kgrec("recommend", model, "--users", file, "--out", tmp_path / "o.csv", "-k", 1)
    assert code == 0
    assert "1 user ids stand more than once" in err
    written = pl.read_csv(tmp_path / "o.csv", infer_schema=False)
    assert written["user_id"].to_list() == ["007", "002"]


def test_k_larger_than_the_catalogue_is_said(model: Path, kgrec: Said) -> None:
    code, out, err = kgrec("recommend", model, "-k", 1000, "--user", "004", "--keep-seen")
    assert code == 0
    assert len(out.splitlines()) == 12
    assert "k is 1000 and the catalogue has 11 items" in err


def test_what_cannot_be_done_is_one_sentence(model: Path, kgrec: Said, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("user\na\n")
    (tmp_path / "broken.parquet").write_text("PAR1")
    (tmp_path / "folder.csv").mkdir()
    for code, words, args in [
        (2, "lists for every user need --out FILE", ["recommend", model]),
        (2, "--shards needs --out", ["recommend", model, "--user", "001", "--shards", 2]),
        (1, "unknown user '0011x'; did you mean '0011'?", ["recommend", model, "--user", "0011x"]),
        (1, "there is no model at", ["recommend", tmp_path / "no", "--user", "1"]),
        (1, "no.txt: No such file", ["recommend", model, "--users", tmp_path / "no.txt"]),
        (1, "no.csv: No such file", ["recommend", model, "--users", tmp_path / "no.csv"]),
        (1, "column 'user_id' is missing", ["recommend", model, "--users", tmp_path / "bad.csv"]),
        (1, "cannot read the users", ["recommend", model, "--users", tmp_path / "broken.parquet"]),
        (2, "lists are written as", ["recommend", model, "--out", tmp_path / "lists.xlsx"]),
        (1, "is a folder", ["recommend", model, "--out", tmp_path / "folder.csv"]),
        (
            1,
            "bad.csv is not a folder",
            ["recommend", model, "--out", tmp_path / "bad.csv" / "x.csv"],
        ),
        (2, "no schema 'amazn-2018' ships; did you mean", ["schema", "show", "amazn-2018"]),
    ]:
        got, out, err = kgrec(*args)
        assert (got, out) == (code, ""), err
        sentences = [line for line in err.splitlines() if line.startswith("kgrec: ")]
        assert len(sentences) == 1
        assert words in sentences[0]
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("column 'x' is missing"), 1, "kgrec: column 'x' is missing\n"),
        (SchemaError("unknown key"), 2, "kgrec: unknown key\n"),
        (FileNotFoundError(2, "No such file", "a.csv"), 1, "kgrec: a.csv: no such file\n"),
        (MemoryError(), 1, "kgrec: there is not enough memory\n"),
        (KeyboardInterrupt(), 130, "kgrec: interrupted; nothing half written was left\n"),
    ],
)
def test_errors_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch, kgrec: Said, error: BaseException, code: int, words: str
) -> None:
    def fail(args: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(cli.doctor, "run", fail)
    assert kgrec("doctor") == (code, "", words)
    if isinstance(error, KgrecError):
        with pytest.raises(type(error)):
            cli.main(["doctor", "--debug"])


def run(script: str, *args: object, reader: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a script with the fake model in a process of its own."""
    start = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
import types
from fake_source import FakeRecommender, FakeSource
fake = sys.modules["kgrec.recommender"] = types.ModuleType("kgrec.recommender")
recommender = FakeRecommender()
fake.load_model = lambda path: recommender
from kgrec.cli import main
"""
    command = [sys.executable, "-c", start + script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_signal_leaves_no_half_written_file(
    model: Path, tmp_path: Path, name: str, code: int, shards: int
) -> None:
    script = f"""
def before_batch():
    if len(recommender.batches) == {shards - 1}:
        os.kill(os.getpid(), signal.{name})
recommender.before_batch = before_batch
sys.exit(main(["recommend", sys.argv[1], "--out", sys.argv[2], "--shards", "{shards}"]))
"""
    out = tmp_path / "lists.parquet"
    ran = run(script, model, out)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    left = sorted(p.name for p in tmp_path.rglob("*") if p.is_file() and model not in p.parents)
    whole = [f"part-{n:05d}.parquet" for n in range(shards - 1)]
    assert left == (["_lists.json", *whole] if whole else [])
    for path in tmp_path.rglob("part-*"):
        assert len(np.unique(pl.read_parquet(path)["user_id"])) == 8
    assert not out.exists()


def test_a_reader_that_leaves_is_no_matter(model: Path) -> None:
    script = """
read, write = os.pipe()
os.dup2(write, 1)
os.close(read)
sys.exit(main(["recommend", sys.argv[1], "--user", "001"]))
"""
    ran = run(script, model)
    assert ran.returncode == 141
    assert "Traceback" not in ran.stderr
    assert "Broken pipe" not in ran.stderr


def test_similar_and_json(model: Path, kgrec: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def similar(self: FakeRecommender, items: list[str], k: int) -> Any:
        ids = self.items.take(self.items.indices(items)).to_list()
        return pl.DataFrame({"item_id": ids * k, "similar_id": ["i,1"] * k}).to_pandas()

    monkeypatch.setattr(FakeRecommender, "similar", similar, raising=False)
    code, out, _ = kgrec("similar", model, "i,2", "-k", 2, "--json")
    assert code == 0
    assert json.loads(out) == [{"item_id": "i,2", "similar_id": "i,1"}] * 2
    code, _, err = kgrec("similar", model, "i,22")
    assert code == 1
    assert "unknown item 'i,22'; did you mean 'i,2'?" in err


def test_only_items_for_which_the_condition_holds(model: Path, kgrec: Said) -> None:
    where = "title = 'Thing 3' or title = 'Thing 4'"
    rows = json.loads(kgrec("recommend", model, "--user", "005", "--where", where, "--json")[1])
    assert {row["item_id"] for row in rows} == {"i,3", "i,4"}


def test_a_history_of_somebody_new(
    model: Path, kgrec: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    def recommend(self: FakeRecommender, **options: Any) -> Any:
        asked.append(options)
        row = {"user_id": ["0"], "item_id": ["i,4"], "score": [1.5], "rank": [1]}
        return pl.DataFrame(row).to_pandas()

    monkeypatch.setattr(FakeRecommender, "recommend", recommend, raising=False)
    code, out, _ = kgrec("recommend", model, "--history", "A, B", "-k", 3, "--where", "x = 1")
    assert code == 0
    assert "Thing 4" in out
    assert asked == [{"histories": [["A", "B"]], "k": 3, "where": "x = 1", "exclude_seen": True}]
    _, _, err = kgrec("recommend", model, "--history", "", "--out", tmp_path / "lists.parquet")
    assert "the history is empty: the list is the popular items" in err
    assert pl.read_parquet(tmp_path / "lists.parquet").rows() == [("0", "i,4", 1.5, 1)]


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for reading and fitting; what they were asked for."""
    asked: list[dict[str, Any]] = []

    def load(data: str, schema: str, config: Any) -> Shop:
        asked.append({"data": data, "schema": schema, "load": config})
        source = FakeSource()
        graph = KnowledgeGraph({"item": source.items, "user": source.users})
        report = LoadReport(rows={"a.csv": 9}, rejected={"no item": 1}, warnings=("look",))
        return Shop("x", source.items, source.users, source.history, graph, report=report)

    def fit(shop: Shop, config: Any, *, out: Path, cache: Path, engine: Any) -> FakeRecommender:
        asked.append({"config": config, "cache": cache, "engine": engine})
        write_folder(out, lambda folder: None, {})
        return FakeRecommender()

    monkeypatch.setattr("kgrec.loading.load", load)
    pipeline = ModuleType("kgrec.pipeline")
    pipeline.fit = fit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kgrec.pipeline", pipeline)
    return asked


def test_fit_hands_every_option_on(
    chain: list[dict[str, Any]], kgrec: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.toml").write_text("seed = 3\n[ranker]\nridge = 5\ntrials = 9\n")
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path / "cache"))
    code, out, _ = kgrec(
        "fit", "shop", "--schema", "amazon-2018", "--out", tmp_path / "model",
        "--config", tmp_path / "my.toml", "--set", "ranker.ridge=20", "--split", "time",
        "--seed", 4,
    )  # fmt: skip
    assert code == 0
    read, fitted = chain
    assert (read["data"], read["schema"]) == ("shop", "amazon-2018")
    assert read["load"].reject_file == f"{tmp_path / 'model'}-rejected.tsv"
    assert fitted["cache"] == tmp_path / "cache"
    assert fitted["engine"] is LOCAL
    config = fitted["config"]
    assert (config.seed, config.split.method) == (4, "time")
    assert (config.ranker.ridge, config.ranker.trials) == (20.0, 9)
    for line in ("a.csv: 9 rows", "rejected: no item: 1", "warning: look", "load: 1.2 seconds"):
        assert line in out
    assert "23 users, 11 items; the model is in" in out
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_fit_refuses_before_it_reads(
    chain: list[dict[str, Any]], kgrec: Said, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").touch()
    start = ["fit", "shop", "--schema", "s", "--out"]
    for code, words, args in [
        (1, "is not a model folder; kgrec does not replace it", [*start, tmp_path / "thesis"]),
        (2, "did you mean 'ridge'?", [*start, tmp_path / "m", "--set", "ranker.rigde=1"]),
        (2, "did you mean 'time'?", [*start, tmp_path / "m", "--split", "tim"]),
        (2, "cannot read the config", [*start, tmp_path / "m", "--config", tmp_path / "no.toml"]),
    ]:
        got, _, err = kgrec(*args)
        assert got == code
        assert words in err
    with claim(tmp_path / "m"):
        ran = run(
            'sys.modules["kgrec.pipeline"] = types.ModuleType("kgrec.pipeline")\n'
            'sys.modules["kgrec.pipeline"].fit = None\n'
            'sys.exit(main(["fit", "shop", "--schema", "s", "--out", sys.argv[1]]))',
            tmp_path / "m",
        )
    assert ran.returncode == 1
    assert f"is being written by process {os.getpid()}" in ran.stderr
    assert chain == []


def test_evaluation_is_printed_and_written(
    model: Path, kgrec: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evaluation:
        def __init__(self, ks: list[int]) -> None:
            self.ks = ks

        def to_text(self) -> str:
            return f"recall at {self.ks}"

        def to_dict(self) -> dict[str, Any]:
            return {"ks": self.ks, "recall": np.float32(0.5)}

    module = ModuleType("kgrec.evaluate")
    module.evaluate_model = lambda recommender, ks, batch_size: Evaluation(ks)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kgrec.evaluate", module)
    assert kgrec("evaluate", model)[:2] == (0, "recall at [5, 10, 20]\n")
    _, out, _ = kgrec("evaluate", model, "-k", "20,5", "--json", "--out", tmp_path / "e.json")
    assert json.loads(out) == {"ks": [5, 20], "recall": 0.5}
    assert json.loads((tmp_path / "e.json").read_text()) == json.loads(out)


def test_schemas_are_listed_and_shown(kgrec: Said) -> None:
    code, out, _ = kgrec("schema", "list")
    assert code == 0
    assert "amazon-2018" in out.split()
    code, out, _ = kgrec("schema", "show", "amazon-2018")
    assert code == 0
    assert "[[" in out
