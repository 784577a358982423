from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from kgrec import cli
from kgrec.benchmark import jobs
from kgrec.benchmark.calibration import Calibration, out_of_fold_auc
from kgrec.benchmark.limits import Ended, run_limited
from kgrec.benchmark.pair_scoring import Labelled, auc, influences, metrics, read_scores
from kgrec.benchmark.pairs import BOTH_SEEN, SealedPairs, cut_pairs, read_pairs, write_pairs
from kgrec.errors import ConfigError, DataError
from kgrec.loading import load
from kgrec.shop import Shop
from kgrec.split import SplitConfig

N_GROUPS, USERS, ITEMS = 4, 15, 12
"""Of each group; a user likes 3 in 4 of the items of the own group and nothing else."""
RANDOM = SplitConfig(method="random", test_share=0.2, validation_share=0.25)
SCHEMA = """
target = "1"

[behaviours]
1 = 1.0
0 = 0.0

[[interactions]]
files = ["labels.tsv"]
format = "tsv"
columns = ["user", "item", "label"]
behaviour = "label"
"""


def write_labels(folder: Path) -> Path:
    """Users like most items of their group; as many zeros, drawn evenly from what they lack."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    lines = []
    for user in range(N_GROUPS * USERS):
        own = np.arange(ITEMS) + user % N_GROUPS * ITEMS
        liked = generator.choice(own, ITEMS * 3 // 4, replace=False)
        lacked = np.setdiff1d(np.arange(N_GROUPS * ITEMS), liked)
        lines += [f"u{user:02d}\ti{item:02d}\t1" for item in liked]
        zeros = generator.choice(lacked, len(liked), replace=False)
        lines += [f"u{user:02d}\ti{item:02d}\t0" for item in zeros]
    (folder / "labels.tsv").write_text("\n".join(lines) + "\n")
    schema = folder / "schema.toml"
    schema.write_text(SCHEMA)
    return schema


def best_auc(truth: pl.DataFrame) -> float:
    """The AUC of who knows every user's group, which is all that there is to know."""
    group = truth["user_id"].str.slice(1).cast(pl.Int64) % N_GROUPS
    own = truth["item_id"].str.slice(1).cast(pl.Int64) // ITEMS == group
    return auc(own.cast(pl.Float64).to_numpy(), truth["label"].to_numpy() == 1)


SUITE = """
title = "Tiny, told apart"
folder = "tiny"
schema = "{schema}"
task = "click"
protocol = "A fifth tests."
headline = ["AUC", "F1"]
baselines = ["item-kNN"]
ablations = []
trials = 2
seeds = [7]

[split]
method = "random"
test_share = 0.2
validation_share = 0.25

[[files]]
name = "labels.tsv"
"""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(tmp_path_factory.mktemp("labels") / "tiny")


@pytest.fixture
def shop(schema: Path) -> Shop:
    return load(schema.parent, str(schema))


def drawn(seed: int, n: int = 300) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    one = generator.random(n) < 0.4
    return np.clip(np.round(generator.random(n) * 0.7 + 0.3 * one, 1), 0, 1), one


@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_sklearn(seed: int) -> None:
    score, one = drawn(seed)  # rounded, so that many are equal
    found = metrics(score, one)
    assert found["AUC"] == pytest.approx(roc_auc_score(one, score), abs=1e-12)
    assert found["F1"] == pytest.approx(f1_score(one, score >= 0.5), abs=1e-12)
    assert found["accuracy"] == pytest.approx(accuracy_score(one, score >= 0.5), abs=1e-12)


def test_equal_scores_count_half() -> None:
    one = np.array([True, True, False, False])
    assert auc(np.zeros(4), one) == 0.5
    assert auc(np.array([1.0, 0.5, 0.5, 0.0]), one) == pytest.approx(3.5 / 4)
    assert metrics(np.zeros(4), one)["F1"] == 0
    assert metrics(np.zeros(4), ~np.ones(4, np.bool_) | one)["accuracy"] == 0.5


def test_the_parts_of_owners_have_the_metric_as_their_mean_and_its_error() -> None:
    score, one = drawn(5)
    owner = np.random.default_rng(0).integers(0, 40, len(one))
    owner = np.unique(owner, return_inverse=True)[1]
    parts = influences(score, one, owner)
    for name, value in metrics(score, one).items():
        assert parts[name].mean() == pytest.approx(value, abs=1e-12)
    # The error of the mean beside that of drawing owners again, ones and zeros together.
    generator = np.random.default_rng(1)
    rows = [np.flatnonzero(owner == at) for at in range(owner.max() + 1)]
    found = []
    for _ in range(400):
        at = np.concatenate([rows[n] for n in generator.integers(0, len(rows), len(rows))])
        found.append(list(metrics(score[at], one[at]).values()))
    for values, bootstrap in zip(parts.values(), np.std(found, axis=0), strict=True):
        error = values.std(ddof=1) / np.sqrt(len(rows))
        assert error == pytest.approx(bootstrap, rel=0.15)


def test_pairs_are_cut_at_random_and_ones_alone_are_trained_on(shop: Shop) -> None:
    pairs = cut_pairs(shop, RANDOM)
    n = len(shop.interactions)
    assert (len(pairs.test), len(pairs.validation)) == (round(n / 5), round(n / 5))
    known = pairs.parts.known
    assert known.is_target().all()
    assert 0 < len(pairs.parts.validation) < len(pairs.parts.train) / 5
    parts = [
        set(zip(part.user.tolist(), part.item.tolist(), strict=True))
        for part in (known, pairs.validation, pairs.test)
    ]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))
    ones = len(known) + int(pairs.validation.one.sum() + pairs.test.one.sum())
    assert ones == int(shop.interactions.is_target().sum())
    again, other = cut_pairs(shop, RANDOM), cut_pairs(shop, SplitConfig(method="random", seed=8))
    assert np.array_equal(again.test.item, pairs.test.item)
    assert len(other.test) != len(pairs.test) or not np.array_equal(
        other.test.item, again.test.item
    )


def test_what_cannot_be_cut(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="at random"):
        cut_pairs(shop, SplitConfig())
    rows = shop.interactions
    shop = replace(shop, interactions=rows.where(rows.is_target()))
    with pytest.raises(DataError, match="both labels"):
        cut_pairs(shop, RANDOM)


def test_rows_see_the_pairs_of_the_test_part_and_not_its_labels(shop: Shop, tmp_path: Path) -> None:
    pairs = cut_pairs(shop, RANDOM)
    path = tmp_path / "pairs.npz"
    write_pairs(path, pairs)
    with np.load(path) as arrays:
        assert sorted(arrays) == ["item", "user", "validation.item", "validation.one",
                                  "validation.user"]  # fmt: skip
    seen = read_pairs(path)
    assert np.array_equal(seen.user, pairs.test.user)
    assert np.array_equal(seen.validation.one, pairs.validation.one)
    # Files have a user's ones first: the order of the pairs must not say so.
    order = np.arange(len(pairs.test))
    assert 0.4 < auc(order.astype(np.float64), pairs.test.one) < 0.6


def write_scores(path: Path, shop: Shop, pairs: Labelled, score: Any) -> Path:
    pl.DataFrame(
        {
            "user_id": shop.users.take(pairs.user),
            "item_id": shop.items.take(pairs.item),
            "score": score,
        }
    ).write_parquet(path)
    return path


def test_sealed_labels_score_files_and_count(shop: Shop, tmp_path: Path) -> None:
    pairs = cut_pairs(shop, RANDOM)
    test, file = pairs.test, tmp_path / "openings.json"
    sealed = SealedPairs(shop, pairs, openings=file)
    order = np.random.default_rng(0).permutation(len(test))
    shuffled = Labelled(test.user[order], test.item[order], test.one[order])
    path = write_scores(tmp_path / "scores.parquet", shop, shuffled, shuffled.one * 0.8)
    scored = sealed.score("seer", 7, path)
    assert scored.per_user["AUC"].mean() == pytest.approx(1)
    assert len(scored.per_user["AUC"]) == len(sealed.users)
    assert any(name.startswith("users: ") for name in scored.groups)
    assert scored.groups[BOTH_SEEN][0] <= len(sealed.users)
    assert scored.groups["items: tail"][1] == {"AUC": 1, "F1": 1, "accuracy": 1}
    sealed.score("seer", 7, path)
    write_scores(path, shop, test, np.random.default_rng(1).random(len(test)))
    SealedPairs(shop, pairs, openings=file).score("seer", 7, path)
    assert json.loads(file.read_text())["openings"] == {"seer seed 7": 2}
    truth = sealed.truth()
    assert truth.columns == ["user_id", "item_id", "label"]
    assert truth["label"].sum() == test.one.sum()


def test_files_that_are_no_scores_of_these_pairs(shop: Shop, tmp_path: Path) -> None:
    test, path = cut_pairs(shop, RANDOM).test, tmp_path / "scores.parquet"
    half = Labelled(test.user[:-1], test.item[:-1], test.one[:-1])
    write_scores(path, shop, half, np.zeros(len(half)))
    with pytest.raises(DataError, match="once"):
        read_scores(path, test, shop.users, shop.items)
    write_scores(path, shop, test, np.full(len(test), np.nan))
    with pytest.raises(DataError, match="no numbers"):
        read_scores(path, test, shop.users, shop.items)
    path.write_text("nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(path, test, shop.users, shop.items)


def test_calibration_bends_and_takes_constants() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 1)) * 50
    one = generator.random(600) < np.where(np.abs(x[:, 0]) > 40, 0.9, 0.1)  # a valley
    features = np.concatenate([x, np.ones((600, 1))], axis=1)
    assert auc(Calibration.fit(features, one).probability(features), one) > 0.85
    assert out_of_fold_auc(features, one) > 0.83
    assert abs(out_of_fold_auc(generator.normal(size=(600, 2)), one) - 0.5) < 0.1


def test_a_planted_set_end_to_end(
    schema: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite, out = tmp_path / "tiny-click.toml", tmp_path / "out"
    suite.write_text(SUITE.format(schema=schema))
    started: list[str] = []

    def start(command: list[str], **limits: Any) -> Ended:
        job = json.loads(Path(command[-1]).read_text())
        assert str(schema.parent) not in json.dumps(job)
        started.append(Path(job["out"]).name)
        return run_limited(command, **limits)

    monkeypatch.setattr(jobs, "run_limited", start)
    args = ["benchmark", str(suite), "--data", str(schema.parent.parent), "--out", str(out)]
    args += ["--set", "network.enabled=false"]
    assert cli.main([*args, "--rows", "item-kNN"]) == 0
    assert cli.main(args) == 0
    assert "AUC" in capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert started == ["item-knn-seed7", "kgrec-seed7"]
    truth = pl.read_parquet(out / "truth.parquet")
    best = best_auc(truth)
    assert best > 0.8
    rows = {row["name"]: row for row in result["rows"]}
    assert {row["status"] for row in rows.values()} == {"done"}
    for name in ("kgrec", "item-kNN"):
        figures = rows[name]["metrics"]["AUC"]
        assert abs(figures["mean"] - best) < 0.05
        assert figures["low"] < figures["mean"] < figures["high"]
    (seed,) = rows["kgrec"]["seeds"]
    scores = pl.read_parquet(out / seed["lists"]).join(truth, on=["user_id", "item_id"])
    assert rows["kgrec"]["metrics"]["AUC"]["mean"] == pytest.approx(
        roc_auc_score(scores["label"], scores["score"])
    )
    assert 0.7 < seed["validation"] < 1
    assert max(t["value"] for t in seed["tried"]) > 0.6  # searched by AUC, not by nDCG
    assert rows["item-kNN"]["seeds"][0]["trials"] == 2
    assert rows["kgrec"]["against"]["AUC"]["baseline"] == "item-kNN"
    assert set(result["openings"].values()) == {1}
    assert result["data"]["validation"] == len(truth)
    report = (out / "report.md").read_text()
    assert "drawn evenly from all items that a user lacks" in report
    assert "AUC" in report
