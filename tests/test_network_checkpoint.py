from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kgrec.network_checkpoint import (
    fingerprint,
    load_optimizer,
    optimizer_tensors,
    read_checkpoint,
    write_checkpoint,
)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    tensors = {"module.w": torch.randn(3, 2), "optimizer.0.step": torch.tensor(4.0)}
    write_checkpoint(tmp_path / "run", tensors, {"fingerprint": "a", "epoch": 2})
    found = read_checkpoint(tmp_path / "run", "a")
    assert found is not None
    assert found[1] == {"fingerprint": "a", "epoch": 2}
    assert all(torch.equal(found[0][name], tensors[name]) for name in tensors)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["network.safetensors"]


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, "a") is None


def test_one_of_other_data_is_ignored_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"fingerprint": "a"})
    assert read_checkpoint(tmp_path, "b") is None
    assert "other data or options" in capsys.readouterr().err


def test_a_truncated_one_is_ignored_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path, {"x": torch.zeros(100)}, {"fingerprint": "a"})
    file = tmp_path / "network.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    assert read_checkpoint(tmp_path, "a") is None
    assert "damaged" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"fingerprint": "a", "epoch": 1})

    def full_disk(*args: object, **options: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kgrec.network_checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, {"x": torch.ones(1)}, {"fingerprint": "a", "epoch": 2})
    found = read_checkpoint(tmp_path, "a")
    assert found is not None
    assert found[1]["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_the_fingerprint_sees_options_values_and_shapes() -> None:
    array = np.arange(6)
    prints = {
        fingerprint({"a": 1}, [array]),
        fingerprint({"a": 2}, [array]),
        fingerprint({"a": 1}, [array.reshape(2, 3)]),
        fingerprint({"a": 1}, [array.reshape(2, 3).T]),
        fingerprint({"a": 1}, [array[::-1]]),
        fingerprint({"a": 1}, [array[:0]]),
    }
    assert len(prints) == 6
    assert fingerprint({"a": 1}, [array]) == fingerprint({"a": 1}, [array.copy()])


def test_an_optimizer_goes_on_as_if_it_had_not_stopped() -> None:
    def run(steps: int, weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (weight**4).sum().backward()
            optimizer.step()

    straight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    run(6, straight, torch.optim.AdamW([straight], lr=0.1))
    first = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    before = torch.optim.AdamW([first], lr=0.1)
    run(3, first, before)
    second = torch.nn.Parameter(first.detach().clone())
    after = torch.optim.AdamW([second], lr=0.1)
    tensors = {name: value.clone() for name, value in optimizer_tensors(before).items()}
    load_optimizer(after, tensors)
    run(3, second, after)
    assert torch.equal(straight, second)
