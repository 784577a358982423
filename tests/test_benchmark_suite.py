from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from benchmark_tables import tiny_suite, write_tables

from kgrec.benchmark.catalogue import BASELINES
from kgrec.benchmark.files import find_data, hash_files
from kgrec.benchmark.suite import Suite, build_suite, load_suite, suite_names
from kgrec.datasets import DATASETS
from kgrec.errors import ConfigError, DataError
from kgrec.schema import Schema


@pytest.mark.parametrize("name", suite_names())
def test_what_ships_can_be_meant(name: str) -> None:
    suite = load_suite(name)
    assert Schema.load(suite.schema)
    assert set(suite.baselines) <= set(BASELINES)
    assert suite.name == name
    assert suite.files
    known = {dataset.name: dataset.categories for dataset in DATASETS}
    for file in suite.files:
        assert file.dataset or file.where
        assert file.dataset is None or file.dataset in known
        assert file.category is None or file.category in known[str(file.dataset)]
    for figure in suite.published:
        assert figure.source
        assert all(0 < value < 1 for value in figure.metrics.values())
    relations = {relation.name for relation in Schema.load(suite.schema).relations}
    assert not relations or not set(suite.without) - relations or suite.schema == "recbole"


def test_suites_find_the_real_files(shared_data: Path) -> None:
    here = 0
    for suite in map(load_suite, suite_names()):
        if (shared_data / suite.folder).is_dir():
            here += 1
            found = find_data(suite, shared_data)
            assert found.data.is_file() == suite.single_file
            assert find_data(suite, shared_data / suite.folder).sha256 == found.sha256
    assert here


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"hedline": ["recall@5"]}, "tiny.toml: unknown option 'hedline'; did you mean 'headline'"),
        ({"files": [{"nme": "x"}]}, "[[files]]: unknown option 'nme'; did you mean 'name'"),
        ({"files": [{}]}, "[[files]]: name is missing"),
        ({"split": {"methd": "time"}}, "unknown option 'methd'; did you mean 'method'"),
        ({"headline": ["recall@7"]}, "headline cannot hold 'recall@7'"),
        ({"ablations": ["no grph"]}, "did you mean 'no graph'"),
        ({"tuned_for": "recall@5"}, "tuned_for is 'recall@5'"),
        ({"trials": 0}, "trials is 0"),
        ({"seeds": []}, "need one value at least"),
        ({"task": "clicks"}, "did you mean 'click'"),
        ({"folds": 3, "split": {"cold_item_share": 0.5}, "headline": ["recall@5 on cold items"]},
         "not disjoint"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_suite(Path("schema.toml"), **table)
    assert words in str(caught.value)


def test_a_suite_needs_its_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x.toml: title, folder, schema, protocol is missing"):
        build_suite({"name": "x"}, "x.toml")
    with pytest.raises(ConfigError, match="did you mean 'amazon-book-kgat'"):
        load_suite("amazon-book-kgt")
    with pytest.raises(ConfigError, match="there is no suite file"):
        load_suite(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_suite(tmp_path / "bad.toml")


def test_words_do_not_change_the_hash() -> None:
    suite = tiny_suite(Path("s.toml"))
    assert tiny_suite(Path("s.toml"), title="Other", notes=["x"]).hash() == suite.hash()
    assert tiny_suite(Path("s.toml"), trials=3).hash() != suite.hash()
    assert suite.list_length == 100
    assert tiny_suite(Path("s.toml"), ks=[5, 80]).list_length == 160


def test_missing_files_are_named_with_where_they_are(tmp_path: Path) -> None:
    suite = load_suite("amazon-book-kgat")
    with pytest.raises(DataError, match="there is no folder"):
        find_data(suite, tmp_path / "no")
    folder = tmp_path / "amazon-book-kgat"
    folder.mkdir()
    (folder / "train.txt.gz").write_bytes(gzip.compress(b"0 1\n"))
    with pytest.raises(DataError) as caught:
        find_data(suite, tmp_path)
    said = str(caught.value)
    assert "needs 3 files" in said
    assert "train.txt" not in said
    assert "kg_final.txt or item_entity_links.txt" in said
    assert f"kgrec data fetch kgat-amazon-book --out {folder}" in said


def test_the_folder_itself_will_do_and_one_file_may_be_all(tmp_path: Path) -> None:
    schema = write_tables(tmp_path / "tiny")
    suite = tiny_suite(schema)
    found = find_data(suite, tmp_path)
    assert found.data == tmp_path / "tiny"
    assert find_data(suite, tmp_path / "tiny").sha256 == found.sha256
    single: Suite = tiny_suite(schema, single_file=True)
    assert find_data(single, tmp_path).data == tmp_path / "tiny" / "bought.csv"
    before = hash_files([tmp_path / "tiny" / "bought.csv"])
    with (tmp_path / "tiny" / "bought.csv").open("a") as handle:
        handle.write("u000,i000,99\n")
    assert hash_files([tmp_path / "tiny" / "bought.csv"]) != before
