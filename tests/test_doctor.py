from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from kgrec import doctor
from kgrec.doctor import TESTED, Diagnosis, Finding, diagnose
from kgrec.errors import KgrecError


def named(diagnosis: Diagnosis, name: str) -> Finding:
    (finding,) = (f for f in diagnosis.findings if f.name == name)
    return finding


def test_a_diagnosis_covers_every_area_and_is_json() -> None:
    diagnosis = diagnose()
    areas = {finding.area for finding in diagnosis.findings}
    assert {"Python", "Packages", "Accelerators", "Text", "Machine"} <= areas
    assert json.loads(json.dumps(diagnosis.to_dict()))["healthy"] == diagnosis.healthy
    assert named(diagnosis, "torch").found in diagnosis.to_text()


def test_both_faiss_builds_are_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "packages_distributions", lambda: {"faiss": ["faiss-gpu-cuvs", "faiss-cpu"]}
    )
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    (finding,) = doctor._faiss()
    assert finding.status == "warning"
    assert "pip uninstall -y faiss-cpu faiss-gpu-cuvs" in finding.advice


CUVS = ["numpy>=1.25", "nvidia-cublas<14,>=13.2", "nvidia-cuda-runtime<14,>=13.2"]
CU12 = ["numpy", "nvidia-cuda-runtime-cu12>=12.1.105", "nvidia-cublas-cu12"]


@pytest.mark.parametrize(
    ("build", "asks_for", "cuda", "gpus", "status", "words", "advice"),
    [
        ("faiss-gpu-cuvs", CUVS, "13.0", 1, "ok", "1 GPUs", ""),
        ("faiss-gpu-cu12", CU12, "13.0", 1, "warning", "CUDA 12, but torch for CUDA 13", "[gpu]"),
        ("faiss-gpu-cuvs", CUVS, "12.8", 1, "warning", "CUDA 13, but torch for CUDA 12", "CUDA 13"),
        ("faiss-gpu-cuvs", CUVS, "13.0", 0, "warning", "but no GPU answers", "nvidia-smi"),
        ("faiss-gpu-cuvs", CUVS, None, 0, "warning", "but no GPU answers", "[cpu]"),
        ("faiss-cpu", None, "13.0", 0, "note", "torch ranks every item on the GPU", "[gpu]"),
        ("faiss-cpu", ["numpy"], None, 0, "ok", "0 GPUs", ""),
    ],
)
def test_builds_that_do_not_suit_each_other_are_told(
    monkeypatch: pytest.MonkeyPatch,
    build: str,
    asks_for: list[str] | None,
    cuda: str | None,
    gpus: int,
    status: str,
    words: str,
    advice: str,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
    monkeypatch.setattr(doctor, "requires", lambda name: asks_for)
    finding, lists = doctor._faiss_build(build, f"{build} 1.0", gpus)
    assert (finding.status, lists.status) == (status, "ok")
    assert words in finding.found
    assert advice in finding.advice
    assert bool(advice) == bool(finding.advice)
    assert ("on the GPU" in lists.found) == (cuda is not None)


def test_a_faiss_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"faiss": ["faiss-gpu-cuvs"]})
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    monkeypatch.setitem(sys.modules, "faiss", None)
    (finding,) = doctor._faiss()
    assert finding.status == "missing"
    assert "does not load" in finding.found
    assert finding.advice == "pip install --force-reinstall faiss-gpu-cuvs"


@pytest.mark.parametrize("driver", [True, False])
def test_a_torch_for_the_processor_beside_a_driver_is_told(
    monkeypatch: pytest.MonkeyPatch, driver: bool
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "_has_driver", lambda: driver)
    found = doctor._torch()[-1]
    assert ("driver is here" in found.found) == driver == bool(found.advice)


def test_no_faiss_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", dict)
    (finding,) = doctor._faiss()
    assert finding.status == "missing"
    assert "kgrec[cpu]" in finding.advice


def test_an_absent_package_is_missing_and_one_of_an_extra_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    found = {finding.name: finding for finding in doctor._packages()}
    assert found["numpy"].status == "missing"
    assert found["numpy"].advice == "pip install numpy"
    assert found["transformers"].status == "note"
    assert found["transformers"].advice == "pip install 'kgrec[text]'"


def test_another_version_than_tested_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "2.13.0+cpu")
    found = {finding.name: finding for finding in doctor._packages()}
    assert found["torch"].status == "ok"
    assert found["numpy"].found == f"2.13.0+cpu (tested with {TESTED['numpy'][0]})"


def test_an_unusable_text_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def altered(name: object) -> Path:
        raise KgrecError("the weights differ; install it again")

    monkeypatch.setattr("kgrec.text_source.find_model", altered)
    (finding,) = doctor._text_model()
    assert (finding.status, finding.advice) == ("missing", "the weights differ; install it again")


def test_a_look_that_fails_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("libcudart.so is damaged")

    monkeypatch.setattr(doctor, "_torch", broken)
    diagnosis = diagnose()
    assert named(diagnosis, "broken").found == "RuntimeError: libcudart.so is damaged"
    assert not diagnosis.healthy
    assert named(diagnosis, "cores")


def test_offline_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor._hub()[0].status == "note"


def test_tested_versions_are_those_of_the_lock() -> None:
    lock = Path(__file__).parents[1] / "constraints.txt"
    if not lock.exists():
        pytest.skip("constraints.txt is not here")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;+]+)", lock.read_text(), re.M))
    pins = {re.sub(r"[-_.]+", "-", name).lower(): value for name, value in pins.items()}
    for name, (tested, _) in TESTED.items():
        assert pins[name.replace("_", "-")] == tested, name
