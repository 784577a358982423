from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from toy_shop import planted_shop

import kgrec
from kgrec.config import Config
from kgrec.errors import ArtefactError
from kgrec.evaluate import evaluate_model
from kgrec.graph import KnowledgeGraph
from kgrec.lists import write_lists
from kgrec.network import NetworkConfig
from kgrec.network_training import train_network
from kgrec.pipeline import fit
from kgrec.recommender import Recommender, load_model
from kgrec.split import split

QUICK = ("network.size=8", "network.epochs=2", "ranker.trials=8", "ranker.ridge=3")


def quick(*more: str) -> Config:
    return Config.from_toml(None, (*QUICK, *more))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Path]:
    folder = tmp_path_factory.mktemp("model") / "m"
    return fit(planted_shop(n_users=120), quick(), out=folder), folder


def test_the_chain_finds_the_planted_groups(fitted: tuple[Recommender, Path]) -> None:
    found = evaluate_model(fitted[0], (4,))
    # Each user has one item left of a group of ten, five already seen: 4 of 5 is the best there is.
    assert found.metrics()["recall@4"] > 0.6
    assert found.metrics()["recall@4"] > 3 * found.metrics("popularity")["recall@4"]


def test_loading_gives_the_same_lists(fitted: tuple[Recommender, Path]) -> None:
    model, folder = fitted
    again = load_model(folder)
    users = np.arange(120)
    one, two = model.top_k(users, 7), again.top_k(users, 7)
    assert np.array_equal(one.items, two.items)
    assert np.array_equal(one.scores, two.scores)
    assert again.config == model.config
    assert again.recommend(["u003"]).equals(model.recommend(["u003"]))
    assert again.fit_report["trials"] == json.loads(json.dumps(model.fit_report["trials"]))
    assert not (folder.parent / ".m.work").exists()


def test_the_folder_holds_no_pickle(fitted: tuple[Recommender, Path]) -> None:
    kinds = {file.suffix for file in fitted[1].iterdir()}
    assert kinds == {".json", ".parquet", ".safetensors", ".faiss"}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = fit(planted_shop(), quick(), out=tmp_path / name)
        write_lists(model, tmp_path / f"{name}.parquet", k=5)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


KILLED = """
import os, sys
from pathlib import Path
import kgrec.network_training as training
from toy_shop import planted_shop
from test_pipeline import quick
from kgrec.pipeline import fit
after, saved = int(sys.argv[2]), training._Trainer.save
count = 0
def save(self, folder):
    global count
    saved(self, folder)
    count += 1
    if count == after:
        os._exit(9)
training._Trainer.save = save
fit(planted_shop(), quick(), out=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_fit_goes_on_to_the_same_lists(tmp_path: Path, after: int) -> None:
    whole = fit(planted_shop(), quick(), out=tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut"), str(after)]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=False, capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    assert not (tmp_path / "cut").exists()
    assert any((tmp_path / ".cut.work").rglob("*.safetensors"))
    resumed = fit(planted_shop(), quick(), out=tmp_path / "cut")
    users = np.arange(60)
    assert np.array_equal(resumed.top_k(users, 9).items, whole.top_k(users, 9).items)
    assert np.array_equal(resumed.top_k(users, 9).scores, whole.top_k(users, 9).scores)


def test_a_folder_of_other_things_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ArtefactError, match="is not a model folder"):
        fit(planted_shop(), quick(), out=tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_altered_file_is_refused(fitted: tuple[Recommender, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(fitted[1], copy)
    file = copy / "sparse.safetensors"
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(ArtefactError, match=r"sparse\.safetensors was altered"):
        load_model(copy)


@pytest.mark.parametrize(
    "options",
    [
        ("network.enabled=false",),
        ("ranker.sparse=false",),
        ("ranker.search=false",),
        ("index.kind=hnsw",),
        ("split.method=none",),
    ],
)
def test_every_part_can_be_left_out(options: tuple[str, ...], tmp_path: Path) -> None:
    model = fit(planted_shop(), quick(*options), out=tmp_path / "m")
    top = load_model(tmp_path / "m").top_k(np.arange(60), 5)
    assert (top.items >= 0).all()
    assert (model.held_out is None) == ("split.method=none" in options)


def test_a_shop_of_interactions_alone() -> None:
    shop = planted_shop()
    bare = replace(
        shop, graph=KnowledgeGraph({k: shop.graph.nodes[k] for k in ("item", "user")}), text=None
    )
    assert (fit(bare, quick()).top_k(np.arange(60), 5).items >= 0).all()


def test_frames_to_lists_in_the_callers_ids() -> None:
    generator = np.random.default_rng(3)
    user, item = np.repeat(np.arange(30), 6), generator.integers(0, 9, 180)
    frame = pl.DataFrame(
        {
            "user_id": [f"0{u}" for u in user],
            "item_id": [f"00{u % 3 + 3 * n}" for u, n in zip(user, item, strict=True)],
            "timestamp": 1_500_000_000 + np.arange(180),
        }
    )
    model = kgrec.fit(kgrec.load({"interactions": frame}), quick())
    found = model.recommend(["07"], k=3)
    assert set(found["user_id"]) == {"07"}
    assert found["item_id"].str.startswith("00").all()


def test_threads_do_not_change_what_is_learned() -> None:
    shop = planted_shop(n_users=1500, n_items=80, length=10)
    config = NetworkConfig(size=16, epochs=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        runs = [train_network(shop.interactions, shop.graph, None, config) for _ in range(3)]
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(runs[0].item_out, run.item_out) for run in runs)
    assert all(np.array_equal(runs[0].item_in, run.item_in) for run in runs)


def test_a_large_shop_is_searched_on_some_of_its_users() -> None:
    model = fit(planted_shop(n_users=120), quick("ranker.sample_rows=200", "network.search_rows=1"))
    assert len(model.history) == 120 * 5
    assert model.fit_report["trials"]
    assert evaluate_model(model, (4,)).metrics()["recall@4"] > 0.6


def test_whoever_cuts_the_data_keeps_the_test_part() -> None:
    shop = planted_shop()
    whole = split(shop, quick().split)
    model = kgrec.fit(shop, quick("network.enabled=false"), parts=replace(whole, test=None))
    assert model.held_out is None
    assert len(model.history) == len(whole.known)
    assert whole.test is not None
    tested = set(zip(whole.test.user.tolist(), whole.test.item.tolist(), strict=True))
    known = set(zip(model.history.user.tolist(), model.history.item.tolist(), strict=True))
    assert not tested & known
    # with the test part at hand nothing else is learned
    other = kgrec.fit(shop, quick("network.enabled=false"), parts=whole)
    users = np.arange(60)
    assert np.array_equal(model.top_k(users, 9).scores, other.top_k(users, 9).scores)
    assert other.held_out is not None


def test_what_came_after_the_cut_is_kept_and_not_learned(tmp_path: Path) -> None:
    shop = planted_shop(n_users=60)
    clicks = replace(
        shop.interactions,
        time=np.arange(len(shop.interactions)) % 97,
        time_kind="seconds",
        behaviour=np.arange(len(shop.interactions)) % 2,
        behaviours=("view", "buy"),
        target=1,
    )
    rows = clicks.where(np.ones(len(clicks), np.bool_))
    model = fit(
        replace(shop, interactions=rows),
        quick("split.method=time", "network.enabled=false"),
        out=tmp_path / "m",
    )
    again = load_model(tmp_path / "m")
    for one in (model, again):
        assert one.held_out is not None
        assert one.later is not None
        assert one.history.time.max() < one.held_out.time.min() <= one.later.time.min()
        assert len(one.full_history()) == len(rows)


def test_without_a_dense_half_popularity_orders_what_s_does_not_reach() -> None:
    shop = planted_shop(n_users=120)
    options = "ranker.search=false", "ranker.dense_weight=0", "ranker.n_neighbours=2"
    model = fit(shop, quick(*options, "split.method=none", "ranker.attribute_weight=0"))
    lists = model.top_k(np.arange(120), 30)
    for items, scores in zip(lists.items, lists.scores, strict=True):
        rest = items[(scores < 1e-5) & (items >= 0)]
        assert len(rest) > 10
        assert (np.diff(model.ranker.popularity[rest]) <= 0).all()
