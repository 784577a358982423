from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_network_sampled import STILL, loss_of, steps_of
from test_network_training import CONFIG, planted, same
from toy_shop import planted_shop

from kgrec import cli
from kgrec.commands.common import open_engine
from kgrec.config import Config
from kgrec.data_parallel import ALONE, Group, join, meeting_point
from kgrec.engine import LOCAL, RayEngine
from kgrec.errors import ConfigError, DataError, KgrecError
from kgrec.network import DenseVectors, NetworkConfig
from kgrec.network_sampled import SampledSteps
from kgrec.network_training import _Given, _Trainer, train_network
from kgrec.network_whole import WholeSteps
from kgrec.pipeline import fit
from kgrec.ray_ranks import layout

CONFIGS = [
    CONFIG,
    replace(CONFIG, layers=2, max_edges_per_step=20),
    replace(CONFIG, sampled_items=1),
    replace(CONFIG, sampled_items=1, layers=2, max_edges_per_step=20, n_negatives=8),
]


@pytest.mark.parametrize("size", [2, 9])  # a batch has eight users
@pytest.mark.parametrize("kind", [WholeSteps, SampledSteps])
def test_the_ranks_gradients_add_up_to_those_of_one_process(
    kind: type[SampledSteps | WholeSteps], size: int
) -> None:
    def gradients(group: Group) -> dict[str, torch.Tensor]:
        steps, batch = steps_of(kind, replace(STILL, layers=2))
        loss_of(steps, batch, 8, group).backward()  # type: ignore[no-untyped-call]
        found = {name: each.grad for name, each in steps.module.named_parameters()}
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    whole, shares = gradients(ALONE), [gradients(Group(rank, size)) for rank in range(size)]
    assert len(whole) >= 7
    for name, gradient in whole.items():
        parts = [share[name] for share in shares]
        if gradient.is_sparse:
            for part in parts:
                assert torch.equal(part._indices(), gradient._indices())
            gradient, parts = gradient._values(), [part._values() for part in parts]
        assert gradient.abs().max() > 0
        torch.testing.assert_close(torch.stack(parts).sum(dim=0), gradient, rtol=1e-4, atol=1e-6)


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "wanted", "expected"),
    [
        ([node(CPU=2)], 2, (2, 1, 0)),
        ([node(CPU=2)], 9, (2, 1, 0)),
        ([node(CPU=16), node(CPU=16), node(memory=1)], 2, (2, 16, 0)),
        ([node(CPU=16), node(CPU=4)], 2, (2, 8, 0)),
        ([node(CPU=16), node(CPU=16, alive=False)], 4, (4, 4, 0)),
        ([node(CPU=16, GPU=4), node(CPU=64)], 8, (4, 4, 1)),
        ([node(CPU=8, GPU=1), node(CPU=8, GPU=1)], 2, (2, 8, 1)),
        ([], 2, (1, 1, 0)),
    ],
)
def test_no_more_ranks_than_there_is_room_for(
    nodes: list[dict[str, Any]], wanted: int, expected: tuple[int, int, int]
) -> None:
    assert layout(nodes, wanted) == expected


def test_a_process_that_does_not_see_the_checkpoint_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, graph, text, _ = planted()
    train_network(train, graph, text, replace(CONFIG, epochs=1), checkpoint=tmp_path)
    monkeypatch.setattr(Group, "of_first", lambda group, value: 3.0)
    with pytest.raises(KgrecError, match="does not see what the first process has in"):
        train_network(train, graph, text, replace(CONFIG, epochs=1), checkpoint=tmp_path)


class Processes:
    """An engine whose trainings run in processes of this machine, without Ray."""

    map = LOCAL.map

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def together(self, function: Callable[[Group, Any], Any], shared: Any) -> Any:
        context = get_context("forkserver")  # fork would copy this process's threads in part
        context.set_forkserver_preload([__name__, "kgrec.pipeline"])
        store = meeting_point("127.0.0.1")
        with ProcessPoolExecutor(self.size, context) as pool:
            groups = [Group(rank, self.size) for rank in range(self.size)]
            ranks = [pool.submit(joined, function, each, store.port, shared) for each in groups]
            first, *_ = [rank.result() for rank in ranks]
        return first


def joined(function: Callable[[Group, Any], Any], group: Group, port: int, shared: Any) -> Any:
    torch.set_num_threads(1)
    return function(join(group, "127.0.0.1", port, None), shared)


def close(one: DenseVectors, other: DenseVectors) -> bool:
    """Whether two trainings differ by no more than the order of sums makes them."""
    pairs = [(one.item_in, other.item_in), (one.item_out, other.item_out)]
    pairs += [(one.w_g, other.w_g), (one.bias, other.bias)]
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs)


def given(config: NetworkConfig, with_validation: bool = True) -> _Given:
    train, graph, text, held_out = planted()
    return _Given(train, graph, text, config, held_out if with_validation else None, None, {})


def train_each(group: Group, shared: tuple[Path, list[_Given]]) -> list[DenseVectors]:
    """Trains one after another, and writes down the bits that each rank ends with."""
    folder, trainings = shared
    found = []
    for number, one in enumerate(trainings):
        trainer = _Trainer(one, group)
        while not trainer.finished:
            trainer.run_epoch()
        digest = hashlib.sha256()
        for parameter in trainer.module.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        (folder / f"{number}-{group.rank}-{os.getpid()}").write_text(digest.hexdigest())
        found.append(trainer.result())
    return found


def test_two_processes_train_what_one_trains_and_agree_to_the_last_bit(tmp_path: Path) -> None:
    trainings = [given(config) for config in CONFIGS] + [given(CONFIG, with_validation=False)]
    alone = [
        train_network(each.train, each.graph, each.text, each.config, validation=each.validation)
        for each in trainings
    ]
    # Where a step draws negatives from a whole graph, the bias of an item not drawn has a gradient
    # of rounding alone, which Adam enlarges: nothing to compare with one process, but by rank.
    trainings.append(given(replace(CONFIG, n_negatives=8)))
    together = Processes().together(train_each, (tmp_path, trainings))
    assert all(map(close, together[:-1], alone))
    for number in range(len(trainings)):
        bits = [path.read_text() for path in tmp_path.glob(f"{number}-*")]
        assert len(bits) == 2
        assert bits[0] == bits[1]
    pids = {path.name.split("-")[2] for path in tmp_path.iterdir()}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids


def test_more_processes_go_on_where_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, graph, text, _ = planted()
    whole = train_network(train, graph, text, CONFIG)
    save = _Trainer.save

    def stops(trainer: _Trainer, folder: Path) -> None:
        save(trainer, folder)
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "save", stops)
        with pytest.raises(KeyboardInterrupt):
            train_network(train, graph, text, CONFIG, checkpoint=tmp_path)
    before = (tmp_path / "network.safetensors").stat().st_mtime_ns
    dense = train_network(train, graph, text, CONFIG, checkpoint=tmp_path, engine=Processes(3))
    assert close(dense, whole)
    assert (tmp_path / "network.safetensors").stat().st_mtime_ns > before
    again = train_network(train, graph, text, CONFIG, checkpoint=tmp_path)
    assert same(again, dense), "what three have finished is not repeated by one"


def test_a_whole_fit_trains_on_two_processes(tmp_path: Path) -> None:
    lines = ("network.size=8", "network.epochs=2", "network.search_rows=1", "ranker.trials=2",
             "network.member_rows=1", "network.small_rows=1")  # fmt: skip
    config = Config.from_toml(None, lines)  # one network to search with, the last goes on from it
    alone, together = (
        fit(planted_shop(), config, out=tmp_path / name, engine=engine)
        for name, engine in (("alone", LOCAL), ("together", Processes()))
    )
    one, other = alone.ranker.item_vectors, together.ranker.item_vectors
    assert np.allclose(one, other, rtol=1e-3, atol=1e-4)
    assert not (tmp_path / ".together.work").exists()


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[RayEngine]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
        patch.delenv("RAY_ADDRESS", raising=False)
        with RayEngine(workers=2, training_workers=2) as engine:
            yield engine


class Deadly:
    """An engine whose second rank dies in the third epoch, and then the first does."""

    def __init__(self, engine: RayEngine, marker: Path) -> None:
        self.engine, self.marker = engine, marker

    def together(self, function: Callable[[Group, Any], Any], shared: Any) -> Any:
        marker, here = self.marker, os.getpid()

        def work(group: Group, shared: Any) -> Any:
            from kgrec import network_training

            assert os.getpid() != here
            loss, calls = network_training.batch_loss, 0
            dies_at = {(1, 0): 18, (0, 1): 4}  # eight steps an epoch
            died = len(list(marker.parent.glob(f"{marker.name}*")))

            def dies(*args: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == dies_at.get((group.rank, died)):
                    marker.with_name(f"{marker.name}{died}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return loss(*args)

            network_training.batch_loss = dies  # type: ignore[assignment]
            return function(group, shared)

        return self.engine.together(work, shared)


def test_ranks_that_are_killed_change_nothing(
    two_ranks: RayEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIGS[3]
    (tmp_path / "bits").mkdir()
    (whole,) = Processes().together(train_each, (tmp_path / "bits", [given(config)]))
    train, graph, text, validation = planted()
    engine: Any = Deadly(two_ranks, tmp_path / "died")
    dense = train_network(
        train, graph, text, config, validation=validation, checkpoint=tmp_path / "c", engine=engine
    )
    assert len(list(tmp_path.glob("died*"))) == 2
    assert same(dense, whole)
    said = capsys.readouterr().err
    assert said.count("all go on from the last epoch saved") == 2
    assert said.count("network: goes on after epoch 2\n") >= 1  # a rank may die before it is heard
    assert said.count("network: epoch 4, validation nDCG@10") == 1


def test_a_training_that_always_dies_is_given_up(
    two_ranks: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kills(group: Group, folder: Path) -> None:
        (folder / f"{group.rank}-{os.getpid()}").touch()
        if group.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        group.of_first(1.0)

    monkeypatch.setattr("kgrec.engine.RETRIES", 0)
    with pytest.raises(KgrecError, match="a process of the training died 1 times"):
        two_ranks.together(kills, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_one_rank_raises_is_raised_here(two_ranks: RayEngine) -> None:
    def fails(group: Group, shared: int) -> None:
        if group.rank == 1:
            raise DataError("no user has two distinct items")
        waits = torch.ones(2)
        waits.grad = torch.ones(2)
        group.add_gradients([waits])

    with pytest.raises(DataError, match=r"^no user has two distinct items$") as raised:
        two_ranks.together(fails, 0)
    assert type(raised.value) is DataError


def test_a_training_needs_a_process() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="training_workers is 0; it must be 1 or more"):
        RayEngine(training_workers=0)


def test_the_command_line_hands_the_number_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fit", "shop", "--schema", "s", "--out", "model", "--training-workers"]
    assert cli.main([*words, "2"]) == 2
    assert "are processes of a Ray cluster: give --engine ray" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr("kgrec.engine.RayEngine", lambda *args, **more: asked.append((args, more)))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    open_engine("ray", 3)
    assert asked == [(("10.0.0.1:6379",), {"training_workers": 3})]
