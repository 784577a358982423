from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

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
