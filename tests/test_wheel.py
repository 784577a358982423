"""The wheel, built and installed into an empty folder, works from elsewhere with its schemas."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_metadata_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        name = next(n for n in names if n.endswith("METADATA"))
        about = Parser().parsestr(archive.read(name).decode())
    assert about["Name"] == "kgrec"
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "Apache-2.0"
    assert set(about.get_all("Provides-Extra", [])) >= {"cpu", "gpu", "text", "demo", "dev"}
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "kgrec/py.typed" in names
    assert any(n.startswith("kgrec/templates/") for n in names)
    assert not any(n.startswith(("tests/", "benchmarks/", "graph/")) for n in names)


def test_schemas_load_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True, capture_output=True)
    code = (
        "import kgrec; from kgrec.schema import Schema, shipped_folder;"
        "print(kgrec.__file__); print(shipped_folder()); print(Schema.load('recbole').name);"
        "from kgrec.benchmark.suite import load_suite, suites_folder;"
        "print(suites_folder()); print(load_suite('amazon-book-kgat').name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, schemas, name, suites, suite = done.stdout.splitlines()
    assert Path(where).is_relative_to(target)
    assert Path(schemas) == target / "kgrec" / "schemas"
    assert name == "recbole"
    assert Path(suites) == target / "kgrec" / "suites"
    assert suite == "amazon-book-kgat"
