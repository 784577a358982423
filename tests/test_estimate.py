"""Estimates before a command starts: right within 30%, refusals that name what would fit."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_shop import planted_shop

from kgrec import machine
from kgrec.commands.common import size_in_bytes, users_at_once
from kgrec.config import Config
from kgrec.counts import gather, pairs
from kgrec.errors import ArtefactError, KgrecError, TooLargeError
from kgrec.estimate import (
    ShopSizes,
    estimate_evaluate,
    estimate_fit,
    estimate_prepare,
    estimate_recommend,
)
from kgrec.estimate_choice import FIT_LADDERS, Room, choose, fit_options, plans
from kgrec.needs import Estimate, ListShape, evaluation_needs, in_words, lists_needs
from kgrec.schema import Schema
from kgrec.shop_shape import count_pairs

HERE = Path(__file__).parent
GENERATE = HERE.parent / "benchmarks" / "generate_taobao.py"
WITHIN = 0.3
# Runs a command and, at the end, says the most that it held resident.
RUN = """
import sys
from kgrec.benchmark.limits import own_peak_gib
from kgrec.cli import main
code = main(sys.argv[1:])
sys.stderr.write(f"peak {own_peak_gib() * 2**30:.0f}\\n")
sys.exit(code)
"""


def run(*command: object) -> str:
    """What a command said on stderr, its peak in the last line."""
    one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, command)],
        capture_output=True, text=True, env=os.environ | one, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def peak(said: str) -> int:
    return int(said.rpartition("peak ")[2])


def size_of(path: Path) -> int:
    return sum(f.stat().st_size for f in (path.rglob("*") if path.is_dir() else [path]))


def right(estimate: float, truth: float) -> bool:
    return abs(estimate / truth - 1) <= WITHIN


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Made logs of three sizes."""
    folder, found = tmp_path_factory.mktemp("logs"), {}
    for rows in (2_000, 20_000, 60_000):
        found[rows] = folder / f"UserBehavior-{rows}.csv"
        command = [sys.executable, str(GENERATE), "--rows", str(rows), "--seed", "7", "--out"]
        subprocess.run([*command, str(found[rows])], check=True, capture_output=True)
    return found


def test_prepare_is_right_at_three_sizes(logs: dict[int, Path], tmp_path: Path) -> None:
    schema = Schema.load("taobao-userbehavior")
    for rows, log in logs.items():
        estimate, out = estimate_prepare(log, schema), tmp_path / f"shop-{rows}"
        said = run("prepare", log, "--schema", "taobao-userbehavior", "--out", out)
        assert f"prepare: needs about {estimate.to_text()}" in said
        assert right(estimate.memory_bytes, peak(said))
        if rows > 2_000:  # else most of it are headers of files
            assert right(estimate.disk_bytes, size_of(out))


@pytest.mark.slow
def test_ids_grow_on_as_they_did_but_a_catalogue_ends(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    schema, log = Schema.load("taobao-userbehavior"), tmp_path / "UserBehavior.csv"
    memory = {}
    for n_items in (20_000, 10**12):
        item = generator.integers(n_items, size=400_000)
        frame = pl.DataFrame({"user": 1, "item": item, "category": 1, "behaviour": "pv", "time": 1})
        frame.write_csv(log, include_header=False)
        memory[n_items] = estimate_prepare(log, schema).memory_bytes
    more = memory[10**12] - memory[20_000]
    assert more == pytest.approx(60 * (400_000 - 20_000), rel=0.1)


def test_fit_recommend_and_evaluate_are_right_at_three_sizes(
    logs: dict[int, Path], tmp_path: Path
) -> None:
    options = ["network.epochs=1", "ranker.trials=2", "network.size=64", "network.members=2"]
    settings = [word for option in options for word in ("--set", option)]
    for rows in (2_000, 6_000, 20_000):
        log = tmp_path / f"UserBehavior-{rows}.csv"
        log.write_text("".join(logs[20_000].read_text().splitlines(True)[:rows]))
        model, lists = tmp_path / f"model-{rows}", tmp_path / f"lists-{rows}.parquet"
        read = ("--schema", "taobao-userbehavior", "--split", "time", *settings)
        said = run("fit", log, *read, "--out", model)
        memory, _ = said_of("fit", said)
        assert right(memory, peak(said))
        estimate = estimate_recommend(model, 100)
        said = run("recommend", model, "-k", 100, "--out", lists)
        assert right(estimate.memory_bytes, peak(said))
        if rows > 2_000:
            assert right(estimate.disk_bytes, size_of(lists))
        evaluation = estimate_evaluate(model)
        said = run("evaluate", model)
        assert f"evaluate: needs about {evaluation.to_text()}; " in said
        assert right(evaluation.memory_bytes, peak(said))


def said_of(what: str, text: str) -> tuple[float, float]:
    """Bytes of memory and of disk in the line in which a command says what it needs."""
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    found = re.search(rf"{what}: needs about (\S+) (\S+) of memory \(.*?\) and (\S+) (\S+)", text)
    assert found is not None, text
    return float(found[1]) * units[found[2]], float(found[3]) * units[found[4]]


def test_a_model_is_as_large_as_estimated(tmp_path: Path) -> None:
    from kgrec.pipeline import fit

    config = Config().apply_overrides(
        ["network.epochs=1", "ranker.search=false", "network.members=1", "network.size=32"]
    )
    for n_items in (2_000, 4_000, 8_000):
        shop = planted_shop(n_users=n_items // 4, n_items=n_items, groups=n_items // 40, length=12)
        out = tmp_path / str(n_items)
        fit(shop, config, out=out)
        assert right(estimate_fit(shop, config).kept_bytes, size_of(out))


def test_pairs_are_counted_as_the_ranker_counts_them() -> None:
    shop = planted_shop(n_users=400, n_items=1200, groups=20, length=30)
    config = Config().ranker
    found = count_pairs(shop.interactions, shop.graph, False, config)
    evidence = gather(shop.interactions, shop.graph, None, config)
    gram, _ = pairs("history", evidence, config)
    assert evidence.attributes is not None
    assert found.total("history", 100) == pytest.approx(gram.nnz, rel=0.05)
    assert found.total("attributes", 100) == pytest.approx(evidence.attributes.nnz, rel=0.05)
    assert found.rows == len(shop.interactions)


@given(st.integers(1, 60), st.integers(1, 30))
def test_small_shops_are_counted_exactly(n_users: int, length: int) -> None:
    shop = planted_shop(n_users=n_users, n_items=120, groups=4, length=min(length, 30))
    found = count_pairs(shop.interactions, shop.graph, False, Config().ranker)
    x = np.zeros((n_users, 120))
    x[shop.interactions.user, shop.interactions.item] = 1
    assert found.total("history", 100) == int(np.count_nonzero(x.T @ x))


def test_less_is_needed_where_the_search_switches_the_dense_half_off() -> None:
    shop, config = planted_shop(n_users=200, n_items=120), Config()
    found = estimate_fit(shop, config)
    assert found.without_dense is not None
    assert found.without_dense.memory_bytes < found.memory_bytes
    assert found.without_dense.kept_bytes < found.without_dense.disk_bytes < found.disk_bytes
    for fixed in ("ranker.search=false", "network.enabled=false", "ranker.dense_weight=0"):
        assert estimate_fit(shop, config.apply_overrides([fixed])).without_dense is None
    said = Estimate({"all": 2**30}, 2**20, 0, Estimate({"all": 2**29}, 2**19, 0)).to_text()
    assert said == (
        "1.0 GiB of memory (in all) and 1.0 MiB of disk, or 512 MiB and 512 KiB where the search "
        "switches the dense half off"
    )


def test_each_step_of_a_ladder_takes_less() -> None:
    shop = planted_shop(n_users=300, n_items=2000, groups=20, length=30)
    config = Config().apply_overrides(["ranker.sample_rows=2000000"])
    sizes = ShopSizes.of(shop, config)
    usual = sizes.estimate(config)
    for ladder in FIT_LADDERS:
        needed = [sizes.estimate(config.apply_overrides([step])) for step in ladder]
        assert all(one.memory_bytes <= usual.memory_bytes for one in needed)
    smaller = sizes.estimate(config.apply_overrides(["network.size=32"]))
    assert smaller.memory_bytes < usual.memory_bytes
    assert smaller.disk_bytes < usual.disk_bytes


def test_plans_begin_with_one_mild_step() -> None:
    found = list(plans([["a", "b"], ["c"]]))
    assert found == [(), ("a",), ("c",), ("a", "c"), ("b",), ("b", "c")]
    options = dict(fit_options(Config()))
    assert next(iter(options)) == "--set network.members=1"
    assert all(Config().apply_overrides(o.split()[1::2]) == c for o, c in list(options.items())[:9])
    assert options[next(reversed(options))].ranker.sparse is False
    none = fit_options(Config().apply_overrides(["network.members=1", "network.size=32"]))
    assert not any("members" in name or "size" in name for name, _ in none)


def needing(memory: int, disk: int = 0) -> Estimate:
    return Estimate({"all": memory}, disk, disk)


def test_a_refusal_names_what_fits_and_what_it_needs() -> None:
    room = Room(memory=1000 * 2**20, disk=2**30)
    sizes = {"a": 4 * 2**30, "b": 900 * 2**20, "c": 800 * 2**20}

    def attempt(may_choose: bool) -> str | None:
        return choose(
            "fit", room, needing(5 * 2**30), list(sizes), lambda name: needing(sizes[name]),
            lambda name: f"--set {name}", may_choose=may_choose,
        )  # fmt: skip

    with pytest.raises(TooLargeError) as refused:
        attempt(False)
    assert isinstance(refused.value, KgrecError)
    said = str(refused.value)
    assert "fit needs about 5.0 GiB of memory" in said
    assert "--set b -> 900 MiB of memory" in said
    assert "--set a" not in said
    assert attempt(True) == "b"
    del sizes["b"], sizes["c"]
    with pytest.raises(TooLargeError, match=r"the least is 4\.0 GiB"):
        attempt(True)


def test_disk_counts_too_and_what_is_unknown_refuses_nothing() -> None:
    assert not Room(2**40, 10).fits(needing(1, 11))
    assert Room(None, None).fits(needing(2**60, 2**60))


def test_a_command_refuses_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kgrec.cli import main

    data = tmp_path / "t"
    data.mkdir()
    rows = [f"u{n % 40},i{n * 7 % 90},{n}" for n in range(400)]
    (data / "interactions.csv").write_text("\n".join(["user_id,item_id,position", *rows]))
    (tmp_path / "s.toml").write_text(
        'name = "s"\n[[interactions]]\nfiles = ["interactions.csv"]\nuser = "user_id"\n'
        'item = "item_id"\nposition = "position"\n'
    )
    monkeypatch.setattr("kgrec.estimate_choice.available_memory", lambda: 2**28)
    read = [str(data), "--schema", str(tmp_path / "s.toml"), "--out"]
    assert main(["fit", *read, str(tmp_path / "model")]) == 1
    said = capsys.readouterr().err
    assert "fit needs about" in said
    assert "the least is" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.toml", "t"]
    monkeypatch.setattr("kgrec.estimate_choice.available_memory", lambda: 2**26)
    assert main(["prepare", *read, str(tmp_path / "shop")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.toml", "t"]


def test_a_budget_chooses_options() -> None:
    shop = planted_shop(n_users=300, n_items=20_000, groups=200, length=30)
    sizes = ShopSizes.of(shop, Config())
    usual = sizes.estimate(Config())
    room = Room(int(usual.memory_bytes * 0.8), None)
    chosen = choose(
        "fit", room, usual, fit_options(Config()), lambda option: sizes.estimate(option[1]),
        lambda option: option[0], may_choose=True,
    )  # fmt: skip
    assert chosen is not None
    assert room.fits(sizes.estimate(chosen[1]))


def test_fewer_users_are_ranked_at_once_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shape = ListShape(
        n_users=1000, n_items=10_000, n_rows=10**6, size=64, dense=2**22, sparse=2**22, index=2**22,
        graph=0, strings=0, n_held_out=5000,
    )  # fmt: skip
    monkeypatch.setattr("kgrec.estimate.list_shape", lambda model: shape)
    commands: dict[str, Callable[[ListShape, int], Estimate]] = {
        "recommend": lambda shape, batch: lists_needs(shape, 100, shape.n_users, batch),
        "evaluate": lambda shape, batch: evaluation_needs(shape, [5, 100], batch),
    }
    for what, needs in commands.items():
        most, least = (needs(shape, batch).memory_bytes for batch in (1000, 16))
        budget = (most + least) // 2
        chosen = users_at_once(what, tmp_path, needs, budget)
        assert chosen is not None
        assert needs(shape, chosen).memory_bytes <= budget
        assert users_at_once(what, tmp_path, needs, most) is None
        with pytest.raises(TooLargeError, match="the least is"):
            users_at_once(what, tmp_path, needs, least - 1)
        with pytest.raises(TooLargeError, match="the least is"):
            users_at_once(what, tmp_path, needs, budget, fewer=False)


def test_sizes_are_read_as_people_write_them() -> None:
    assert size_in_bytes("20GiB") == size_in_bytes("20G") == size_in_bytes("20 gib") == 20 * 2**30
    assert size_in_bytes("20000MB") == 20_000 * 10**6
    assert size_in_bytes("1.5G") == 3 * 2**29
    for wrong in ("", "much", "-3G", "0", "3 apples"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
            size_in_bytes(wrong)


def test_no_model_no_estimate(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is not a model folder"):
        estimate_recommend(tmp_path)


def test_the_machine_has_memory_and_disk(tmp_path: Path) -> None:
    total, available = machine.total_memory(), machine.available_memory()
    if total is None or available is None:
        pytest.skip("this system does not say")
    assert 0 < available <= total
    assert machine.free_disk(tmp_path / "not" / "there") > 0


def test_a_container_limits_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "max": "900000000\n",
        "now": "400000000\n",
        "stat": "anon 1\ninactive_file 100000000\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "max"),))
    monkeypatch.setattr(machine, "_USED", (str(tmp_path / "now"),))
    monkeypatch.setattr(machine, "_STATISTICS", (str(tmp_path / "stat"),))
    monkeypatch.setattr(machine, "resident_memory", lambda: 5)
    assert machine.total_memory() == 900_000_000
    assert machine.available_memory() == 600_000_005
    (tmp_path / "max").write_text("max\n")
    assert machine.available_memory() != 600_000_005


def test_sizes_in_words() -> None:
    assert in_words(3.1 * 2**30) == "3.1 GiB"
    assert in_words(420 * 2**20) == "420 MiB"
    assert in_words(1.6 * 2**20) == "1.6 MiB"
    assert in_words(289 * 2**10) == "289 KiB"
    assert replace(needing(2**30), disk_bytes=2**29).to_text() == (
        "1.0 GiB of memory (in all) and 512 MiB of disk"
    )
