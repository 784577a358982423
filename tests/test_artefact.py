from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import kgrec
from kgrec.artefact import (
    FORMAT_VERSION,
    MANIFEST,
    check_replaceable,
    csr_from_arrays,
    csr_to_arrays,
    load_arrays,
    load_table,
    open_folder,
    save_arrays,
    save_table,
    write_folder,
)
from kgrec.atomic import claim
from kgrec.errors import ArtefactError, KgrecError

HERE = Path(__file__).parent


def filler(text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "inner" / "b.txt").write_text(text * 2)

    return fill


def write(path: Path, text: str = "old") -> None:
    write_folder(path, filler(text), {"seed": 7, "config": {"ks": (5, 10), 3: None}})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_written_whole_with_its_manifest(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "model")
    manifest = open_folder(tmp_path / "deep" / "model")
    assert manifest["seed"] == 7
    assert manifest["config"] == {"ks": [5, 10], "3": None}
    assert manifest["kgrec"] == kgrec.__version__
    assert "numpy" in manifest["libraries"]
    assert set(manifest["files"]) == {"a.txt", "inner/b.txt"}
    assert names(tmp_path / "deep") == ["model"]


def test_an_older_model_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "model")
    write_folder(tmp_path / "model", lambda f: (f / "c").write_bytes(b"new") and None, {})
    assert set(open_folder(tmp_path / "model")["files"]) == {"c"}
    assert names(tmp_path / "model") == ["c", MANIFEST]
    assert names(tmp_path) == ["model"]


def test_an_empty_folder_may_become_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model")
    open_folder(tmp_path / "model")


@pytest.mark.parametrize("what", ["file", "folder", "addition", "foreign manifest"])
def test_what_kgrec_did_not_write_is_never_deleted(tmp_path: Path, what: str) -> None:
    model = tmp_path / "model"
    if what == "file":
        kept = model
    elif what == "folder":
        model.mkdir()
        kept = model / "thesis.txt"
    elif what == "addition":
        write(model)
        kept = model / "inner" / "notes.txt"
    else:
        model.mkdir()
        kept = model / MANIFEST
    kept.write_text('{"format": "webpack"}')
    with pytest.raises(ArtefactError, match="move it away"):
        write(model, "new")
    with pytest.raises(ArtefactError, match="move it away"):
        check_replaceable(model)
    assert kept.read_text() == '{"format": "webpack"}'
    assert names(tmp_path) == ["model"]


def test_additions_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    assert "notes.txt" not in open_folder(tmp_path / "model")["files"]


def damage_byte(model: Path) -> None:
    (model / "a.txt").write_text("oLd")


def damage_length(model: Path) -> None:
    (model / "inner" / "b.txt").write_text("ol")


def damage_absence(model: Path) -> None:
    (model / "a.txt").unlink()


def damage_manifest(model: Path) -> None:
    manifest = (model / MANIFEST).read_text()
    (model / MANIFEST).write_text(manifest.replace('"seed": 7', '"seed": 8'))


def damage_manifest_length(model: Path) -> None:
    (model / MANIFEST).write_text((model / MANIFEST).read_text()[:50])


def damage_manifest_shape(model: Path) -> None:
    (model / MANIFEST).write_text("[1]")


def make_newer(model: Path) -> None:
    manifest = json.loads((model / MANIFEST).read_text())
    manifest |= {"format_version": FORMAT_VERSION + 1, "kgrec": "99.0"}
    (model / MANIFEST).write_text(json.dumps(manifest))


def empty(model: Path) -> None:
    (model / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_byte, "a.txt was altered since it was written; restore"),
        (damage_length, "b.txt has 2 bytes, not 6; restore"),
        (damage_absence, "a.txt is missing; restore"),
        (damage_manifest, "manifest.json was altered"),
        (damage_manifest_length, "manifest.json cannot be read"),
        (damage_manifest_shape, "manifest.json cannot be read"),
        (make_newer, "written by kgrec 99.0; this is kgrec .* upgrade kgrec, or fit again"),
        (empty, "is not a model folder: it has no manifest.json"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    write(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ArtefactError, match=words):
        open_folder(tmp_path / "model")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("bits") / "model"
    write(model)
    return model


@settings(max_examples=60)
@given(at=st.integers(0), bit=st.integers(0, 7))
def test_no_single_bit_can_change_unnoticed(written: Path, at: int, bit: int) -> None:
    files = [written / "a.txt", written / "inner" / "b.txt", written / MANIFEST]
    contents = [file.read_bytes() for file in files]
    owner = [(file, n) for file, content in zip(files, contents, strict=True)
             for n in range(len(content))]  # fmt: skip
    file, at = owner[at % len(owner)]
    content = file.read_bytes()
    before = json.loads((written / MANIFEST).read_text())
    try:
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
        assert open_folder(written) == before  # only white space of the manifest may differ
    except ArtefactError:
        pass
    finally:
        file.write_bytes(content)
    assert open_folder(written) == before


def test_no_model_no_folder_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="there is no model at"):
        open_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="is not a model folder"):
        open_folder(tmp_path / "file")


class OtherError(Exception):
    """What a library raises that words a full disk its own way."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OtherError("IoError: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_and_leaves_what_was(tmp_path: Path, error: Exception) -> None:
    write(tmp_path / "model")

    def fill(folder: Path) -> None:
        (folder / "big").write_bytes(b"x" * 1000)
        raise error

    with pytest.raises(KgrecError, match=r"disk of .* is full: writing model needs more than"):
        write_folder(tmp_path / "model", fill, {})
    assert set(open_folder(tmp_path / "model")["files"]) == {"a.txt", "inner/b.txt"}
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(error):
        write_folder(tmp_path / "model", fill, {})
    assert names(tmp_path) == []


def test_a_failed_rename_puts_the_old_model_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "model")
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "the disk is ill")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(OSError, match="ill"):
        write(tmp_path / "model", "new")
    assert (tmp_path / "model" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{script}"]
    return subprocess.run([*command, *map(str, args)], capture_output=True, text=True, timeout=120)


def test_a_second_writer_is_told_who_is_first(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from test_artefact import write
try:
    write(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""
    with claim(tmp_path / "model"):
        told = run(script, tmp_path / "model").stdout
        write(tmp_path / "model")  # who holds the claim writes
    assert "ArtefactError" in told
    assert f"is being written by process {os.getpid()} on" in told
    assert names(tmp_path) == ["model"]


def test_the_lock_of_a_dead_writer_is_taken_over(tmp_path: Path) -> None:
    script = """
import os, signal
from pathlib import Path
from kgrec.artefact import write_folder
def fill(folder):
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
write_folder(Path(sys.argv[1]), fill, {})
"""
    assert run(script, tmp_path / "model").returncode < 0
    assert len(names(tmp_path)) == 2  # its lock and its half-written folder
    write(tmp_path / "model")
    assert names(tmp_path) == ["model"]


def test_killed_at_any_moment_a_replacement_loses_nothing(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from kill_points import sweep
from kgrec.artefact import open_folder
from kgrec.atomic import claim, interrupted
from test_artefact import names, write

folder = Path(sys.argv[1])
write(folder / "model", "old")

def check():
    if interrupted(folder / "model") and not (folder / "model").exists():
        try:
            open_folder(folder / "model")
        except Exception as error:
            assert "the old model is whole" in str(error), error
    with claim(folder / "model"):
        pass
    open_folder(folder / "model")
    assert (folder / "model" / "a.txt").read_text() in ("old", "new")
    assert names(folder) == ["model"], names(folder)
    write(folder / "model", "old")

print(sweep(folder, lambda: write(folder / "model", "new"), check))
"""
    swept = run(script, tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert int(swept.stdout) > 10


@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.5, -2.0]), min_size=3, max_size=3), max_size=4))
def test_arrays_and_sparse_matrices_come_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "x.safetensors"
    dense = np.array(rows, np.float32).reshape(-1, 3)
    matrix = sparse.csr_array(dense)
    transposed = np.arange(6, dtype=np.int64).reshape(2, 3).T
    save_arrays(path, {"t": transposed, "m": dense > 0, **csr_to_arrays("S", matrix)})
    arrays = load_arrays(path)
    assert np.array_equal(arrays["t"], transposed)
    assert arrays["m"].dtype == np.bool_
    back = csr_from_arrays("S", arrays)
    assert back.shape == matrix.shape
    assert back.dtype == np.float32
    assert np.array_equal(back.toarray(), dense)


def test_arrays_are_as_readable_as_any_file(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x.safetensors", {"a": np.zeros(1)})
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_table_comes_back_the_same(tmp_path: Path) -> None:
    table = pl.DataFrame({"item_id": ["007", "b"], "tags": [["x"], None], "price": [1.5, None]})
    save_table(tmp_path / "items.parquet", table)
    assert load_table(tmp_path / "items.parquet").equals(table)
