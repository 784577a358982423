"""A model or a shop as a folder: written beside, renamed into place, trusted if hashes agree.

Such a folder is what `manifest.json` lists and nothing else: safetensors, FAISS, Parquet and
JSON files, no pickle. What anyone adds to the folder is never read; a folder with such additions
is not replaced either, so that nothing that kgrec did not write is deleted by it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

import kgrec
from kgrec.atomic import claim, disk_space, interrupted, replace_folder
from kgrec.errors import ArtefactError

if TYPE_CHECKING:
    from scipy import sparse

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_LIBRARIES = (
    "faiss-cpu", "faiss-gpu-cuvs", "numpy", "polars", "pyarrow", "safetensors", "scipy",
    "torch", "torch-geometric", "transformers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What a folder is."""

    format: str
    """As its manifest says it."""
    name: str
    """As a person says it."""
    maker: str
    """The command that writes one."""
    again: str
    """What to do to have it anew."""


MODEL = Kind("kgrec-model", "model", "kgrec fit --out", "fit again")
SHOP = Kind("kgrec-shop", "shop", "kgrec prepare --out", "prepare it again")

Arrays = Mapping[str, npt.NDArray[Any]]


def write_folder(
    path: Path,
    fill: Callable[[Path], None],
    manifest: Mapping[str, Any],
    kind: Kind = MODEL,
) -> None:
    """Writes a folder whole or not at all; an older one there is replaced whole.

    Args:
        path: The folder to be: absent, empty, or a folder of the kind that holds nothing else.
        fill: Writes the files into the folder it is given, a temporary sibling of `path`.
        manifest: What the manifest says besides versions and hashes: config, seed; JSON values.
        kind: What it is to be.

    Raises:
        ArtefactError: `path` is something else, or another process is writing it.
        KgrecError: The disk is full; nothing is left behind.
    """

    def fill_and_list(folder: Path) -> None:
        fill(folder)
        _write_manifest(folder, {**manifest, "format": kind.format})

    with disk_space(path), claim(path):
        check_replaceable(path, kind)
        replace_folder(path, fill_and_list)


def open_folder(path: Path, kind: Kind = MODEL) -> dict[str, Any]:
    """The manifest of a folder, once every file is found to be as it was written.

    Raises:
        ArtefactError: Not a folder of that kind, written by a newer kgrec, or altered since; the
            message says which file and what to do.
    """
    manifest, mend = _read_manifest(path, kind), _mend(kind)
    for name, written in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise ArtefactError(f"{file} is missing; {mend}")
        size = file.stat().st_size
        if size != written["bytes"]:
            raise ArtefactError(f"{file} has {size} bytes, not {written['bytes']}; {mend}")
        if _sha256(file) != written["sha256"]:
            raise ArtefactError(f"{file} was altered since it was written; {mend}")
    return manifest


def _mend(kind: Kind) -> str:
    return f"restore the {kind.name} folder from a copy, or {kind.again}"


def is_folder(path: Path, kind: Kind) -> bool:
    """Whether there is a folder that calls itself one of this kind."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["format"] == kind.format)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _read_manifest(path: Path, kind: Kind) -> dict[str, Any]:
    """The manifest alone: that it is one, of a known version, and unaltered."""
    name, maker = kind.name, kind.maker
    if not path.exists():
        if aside := interrupted(path):
            raise ArtefactError(
                f"there is no {name} at {path}, because its replacement was interrupted; "
                f"the old {name} is whole: rename {aside} to {path}"
            )
        raise ArtefactError(f"there is no {name} at {path}; give what `{maker}` wrote")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        format_name, format_version = manifest["format"], int(manifest["format_version"])
        written_by = manifest["kgrec"]
    except (FileNotFoundError, NotADirectoryError):
        raise ArtefactError(
            f"{path} is not a {name} folder: it has no {MANIFEST}; give what `{maker}` wrote"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ArtefactError(f"{path / MANIFEST} cannot be read; {_mend(kind)}") from None
    if format_name != kind.format:
        raise ArtefactError(f"{path} is not a {name} folder: it holds '{format_name}'")
    if not 1 <= format_version <= FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {format_version}, written by kgrec {written_by}; this is "
            f"kgrec {kgrec.__version__}, which reads up to {FORMAT_VERSION}: upgrade kgrec, "
            f"or {kind.again}"
        )
    if manifest.get("manifest_sha256") != _manifest_hash(manifest):
        raise ArtefactError(f"{path / MANIFEST} was altered since it was written; {_mend(kind)}")
    return dict(manifest)


def check_replaceable(path: Path, kind: Kind = MODEL) -> None:
    """Refuses a path whose replacement would delete something that kgrec did not write.

    Raises:
        ArtefactError: `path` is a file, a folder of other things, or one with additions.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        known = {MANIFEST, *manifest["files"]} if manifest["format"] == kind.format else None
    except (OSError, ValueError, TypeError, KeyError):
        known = None
    if known is None:
        raise ArtefactError(
            f"{path} exists and is not a {kind.name} folder; kgrec does not replace it: "
            "choose another --out, or move it away"
        )
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    if strange := sorted(found - known):
        raise ArtefactError(
            f"{path} holds '{strange[0]}', which kgrec did not write and does not delete: "
            "move it away, or choose another --out"
        )


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    own = {
        "format_version": FORMAT_VERSION,
        "kgrec": kgrec.__version__,
        "python": platform.python_version(),
        "libraries": library_versions(),
        "files": {
            file.relative_to(folder).as_posix(): {
                "bytes": file.stat().st_size,
                "sha256": _sha256(file),
            }
            for file in files
        },
    }
    # Through JSON and back, so that the hash is of what a reader will see: keys as text.
    whole = json.loads(json.dumps({**manifest, **own}))
    whole["manifest_sha256"] = _manifest_hash(whole)
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """The version of each library that a model's files or numbers depend on, where installed."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Writes arrays of any shape and numeric or bool dtype as one safetensors file."""
    from safetensors.numpy import save_file

    path.touch()
    mode = path.stat().st_mode
    # safetensors writes the buffer as it lies: a transposed view would come back scrambled.
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    path.chmod(mode)  # it leaves its files unreadable to everyone else, whatever the umask


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays that `save_arrays` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = list(file.keys())
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in names:  # opened anew for each: what was read of an open file stays in memory
        with safe_open(path, framework="np") as file:
            arrays[name] = file.get_tensor(name)
    return arrays


def csr_to_arrays(name: str, matrix: sparse.csr_array) -> dict[str, npt.NDArray[Any]]:
    """A sparse matrix as arrays for `save_arrays`: `name.data`, `.indices`, `.indptr`, `.shape`."""
    return {
        f"{name}.data": matrix.data,
        f"{name}.indices": matrix.indices,
        f"{name}.indptr": matrix.indptr,
        f"{name}.shape": np.asarray(matrix.shape, np.int64),
    }


def csr_from_arrays(name: str, arrays: Arrays) -> sparse.csr_array:
    """The sparse matrix that `csr_to_arrays` took apart under this name."""
    from scipy import sparse  # `kgrec prepare` does without, and starts sooner

    data, indices, indptr, shape = (
        arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape")
    )
    return sparse.csr_array((data, indices, indptr), shape=(int(shape[0]), int(shape[1])))


def save_table(
    path: Path, table: pl.DataFrame, compression: Literal["zstd", "lz4"] = "zstd"
) -> None:
    """Writes a table as Parquet; `lz4` takes half again as much disk and less time."""
    table.write_parquet(path, compression=compression, statistics=False)


def load_table(path: Path) -> pl.DataFrame:
    """The table that `save_table` wrote."""
    return pl.read_parquet(path)
