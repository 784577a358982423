from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from fake_source import FakeSource
from test_pipeline import quick
from tiny_text import tiny_shop, write_tiny_bert

from kgrec import cli
from kgrec.config import Config
from kgrec.engine import LOCAL, RayEngine
from kgrec.errors import DataError, KgrecError, MissingExtraError
from kgrec.lists import write_lists
from kgrec.pipeline import fit
from kgrec.recommender import Recommender
from kgrec.ridge import sparse_ridge

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def two_workers() -> Iterator[RayEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.delenv("RAY_ADDRESS", raising=False)
        with RayEngine(workers=2) as engine:
            yield engine


class Deadly:
    """An engine whose worker dies in the middle of the tasks, once."""

    def __init__(self, engine: RayEngine, marker: Path, times: int = 1) -> None:
        self.engine, self.marker, self.times = engine, marker, times

    def map(
        self, function: Callable[[Any, Any], Any], tasks: Sequence[Any], shared: Any
    ) -> Iterator[tuple[int, Any]]:
        assert len(tasks) > 2
        marker, times, here = self.marker, self.times, os.getpid()

        def work(shared: Any, numbered: tuple[int, Any]) -> Any:
            assert os.getpid() != here
            number, task = numbered
            result = function(shared, task)  # what it did is lost with the process
            died = len(list(marker.parent.glob(f"{marker.name}*")))
            if number == len(tasks) // 2 and died < times:
                marker.with_name(f"{marker.name}{died}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        yield from self.engine.map(work, list(enumerate(tasks)), shared)

    def together(self, function: Callable[[Any, Any], Any], shared: Any) -> Any:
        return self.engine.together(function, shared)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def power(base: int, exponent: int) -> int:
    return int(base**exponent)


def test_each_engine_gives_every_result(two_workers: RayEngine) -> None:
    expected = [(number, 3**number) for number in range(20)]
    assert list(LOCAL.map(power, range(20), 3)) == expected
    assert sorted(two_workers.map(power, range(20), 3)) == expected
    assert list(two_workers.map(power, [], 3)) == []


def test_tasks_run_in_other_processes_on_one_thread_and_share_what_is_shared(
    two_workers: RayEngine,
) -> None:
    def look(shared: dict[str, Any], task: int) -> tuple[int, int, bool]:
        from numba import get_num_threads

        first = "met" not in shared
        shared["met"] = True
        return os.getpid(), get_num_threads(), first

    found = [result for _, result in two_workers.map(look, range(12), {"rows": np.zeros(9)})]
    workers = {pid for pid, *_ in found}
    assert os.getpid() not in workers
    assert {n_threads for _, n_threads, _ in found} == {1}
    assert sum(first for *_, first in found) == len(workers)


def fails(shared: int, task: int) -> int:
    if task == 4:
        raise DataError("row 4 of a.csv has no item")
    return task


def lacks(shared: int, task: int) -> int:
    raise MissingExtraError("faiss", "cpu", "the item index")


def test_what_a_task_raises_is_raised_here(two_workers: RayEngine) -> None:
    with pytest.raises(DataError, match=r"^row 4 of a.csv has no item$") as raised:
        list(two_workers.map(fails, range(9), 0))
    assert type(raised.value) is DataError
    with pytest.raises(MissingExtraError, match=r"^the item index needs faiss.*kgrec\[cpu\]'$"):
        list(two_workers.map(lacks, range(9), 0))


def test_a_worker_without_a_package_is_told_apart(
    two_workers: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def double(shared, task):\n    return 2 * task\n")
    monkeypatch.syspath_prepend(tmp_path)
    from only_here import double

    with pytest.raises(KgrecError, match=r"needs the same kgrec and the same packages.*only_here"):
        list(two_workers.map(double, range(3), 0))


def test_a_task_that_kills_every_worker_is_given_up(
    two_workers: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec.engine.RETRIES", 1)
    engine = Deadly(two_workers, tmp_path / "died", times=99)
    with pytest.raises(KgrecError, match="the worker of a task died 2 times"):
        list(engine.map(power, range(4), 3))
    assert len(list(tmp_path.iterdir())) == 2


def test_columns_of_s_are_the_same_on_workers_of_which_one_dies(
    two_workers: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(5)
    x = sp.random_array((300, 90), density=0.2, rng=generator, format="csr", dtype=np.float32)
    gram, cross = sp.csr_array(x.T @ x), sp.csr_array(x[:-1].T @ x[1:])
    whole = sparse_ridge(gram, cross, np.full(90, 2.0), 20)
    monkeypatch.setattr("kgrec.ridge.COLUMNS", 17)
    for engine in (LOCAL, two_workers, Deadly(two_workers, tmp_path / "died")):
        parts = sparse_ridge(gram, cross, np.full(90, 2.0), 20, engine)
        for name in ("data", "indices", "indptr"):
            assert getattr(parts, name).tobytes() == getattr(whole, name).tobytes()
    assert (tmp_path / "died0").exists()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    encoder = write_tiny_bert(tmp_path_factory.mktemp("bert"))
    return quick("ranker.search=false", f"text.encoder={encoder}", "text.max_length=16")


@pytest.fixture(scope="module")
def fitted(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Path]:
    folder = tmp_path_factory.mktemp("fitted") / "model"
    return fit(tiny_shop(), config, out=folder), folder


def test_a_fit_writes_the_same_model_on_workers_of_which_one_dies(
    two_workers: RayEngine, config: Config, fitted: tuple[Recommender, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("kgrec.ridge.COLUMNS", 13)
    monkeypatch.setattr("kgrec.text_encoder.BLOCK", 9)
    deadly = Deadly(two_workers, tmp_path / "died")  # among the texts, which are first
    fit(tiny_shop(), config, out=tmp_path / "model", engine=deadly)
    assert (tmp_path / "died0").exists()
    local, spread = files(fitted[1]), files(tmp_path / "model")
    manifests = [json.loads(each.pop("manifest.json")) for each in (local, spread)]
    assert local == spread
    assert manifests[0]["files"] == manifests[1]["files"]


def test_lists_are_the_same_on_workers_of_which_one_dies(
    two_workers: RayEngine, fitted: tuple[Recommender, Path], tmp_path: Path
) -> None:
    deadly = Deadly(two_workers, tmp_path / "died")
    for name, engine in (("local", LOCAL), ("ray", two_workers), ("deadly", deadly)):
        rows = write_lists(
            fitted[0], tmp_path / name, k=5, shards=6, batch_size=7, model_hash="m", engine=engine
        )
        assert rows == 60 * 5
    whole = files(tmp_path / "local")
    assert len(whole) == 7
    assert files(tmp_path / "ray") == files(tmp_path / "deadly") == whole
    assert (tmp_path / "died0").exists()


def test_a_driver_that_stopped_goes_on_after_its_last_shard(
    two_workers: RayEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(Deadly):
        def map(self, function: Any, tasks: Sequence[Any], shared: Any) -> Iterator[Any]:
            done = self.engine.map(function, tasks, shared)
            yield next(done)
            yield next(done)
            raise KeyboardInterrupt

    def write(engine: Any, name: str) -> None:
        source, out = FakeSource(), tmp_path / name
        write_lists(source, out, k=3, shards=5, batch_size=2, model_hash="m", engine=engine)

    with pytest.raises(KeyboardInterrupt):
        write(Stopped(two_workers, tmp_path / "x"), "lists")
    assert "2 of 5 shards are finished; repeat the command to go on" in capsys.readouterr().err
    write(two_workers, "lists")
    assert "going on after 2 of 5 shards" in capsys.readouterr().err
    write(LOCAL, "local")
    assert files(tmp_path / "lists") == files(tmp_path / "local")


def test_a_folder_that_a_worker_does_not_see_is_named(tmp_path: Path) -> None:
    from kgrec.lists import _Shard, _write_shard

    shard = _Shard(path=tmp_path / "no" / "part.csv", users=np.zeros(0, np.int64), what="")
    with pytest.raises(KgrecError, match=r"does not see .*no: choose an --out that is the same"):
        _write_shard(None, shard)  # type: ignore[arg-type]


def test_the_command_line_joins_ray_and_leaves_it(
    two_workers: RayEngine, fitted: tuple[Recommender, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = signal.getsignal(signal.SIGTERM)
    for engine in ("local", "ray"):
        words = ["recommend", fitted[1], "-k", 3, "--shards", 4, "--out", tmp_path / engine]
        assert cli.main([str(word) for word in (*words, "--engine", engine)]) == 0
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert "ray: 2 workers" in capsys.readouterr().err
    assert cli.main(["recommend", str(fitted[1]), "--out", "x.csv", "--engine", "ray"]) == 2
    assert "--engine ray spreads the shards of lists: give --shards N" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(two_workers.map(power, [1, 2], 3))  # the cluster was not ours to end


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray needs ray.*'kgrec\[ray\]'"):
        RayEngine()
    words = ["recommend", "m", "--out", str(tmp_path / "x"), "--shards", "2", "--engine", "ray"]
    assert cli.main(words) == 1
    assert "pip install 'kgrec[ray]'" in capsys.readouterr().err


def test_the_error_of_a_missing_extra_survives_its_way_from_a_worker() -> None:
    error = MissingExtraError("faiss", "cpu", "the item index")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (MissingExtraError, str(error))
