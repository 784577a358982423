"""The files of a suite: where they are, which are missing and who has them, and one hash of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kgrec.benchmark.suite import Suite, SuiteFile
from kgrec.errors import DataError


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a suite."""

    data: Path
    """What `kgrec.load` reads: the folder, or the one file."""
    sha256: str
    """Over the names and bytes of the files."""
    absent: tuple[str, ...]
    """Optional files that are not there."""


def find_data(suite: Suite, data: Path) -> Found:
    """Finds every file of a suite.

    Args:
        suite: What to look for; without declared files, everything in the folder is its data.
        data: The folder that holds the data sets, or the one that holds these files.

    Raises:
        DataError: A file is missing; the message says which, where it was looked for and where
            to get it.
    """
    if not data.exists():
        raise DataError(f"there is no folder {data}; give the one that holds the data with --data")
    if not suite.files:
        inside = [data] if data.is_file() else sorted(p for p in data.iterdir() if p.is_file())
        return Found(data, hash_files(inside), ())
    tried = [folder for folder in (data / suite.folder, data) if folder.is_dir()]
    missing: list[SuiteFile] = []
    for folder in tried:
        found = {file: file.find(folder) for file in suite.files}
        absent = [file for file, path in found.items() if path is None]
        lacking = [file for file in absent if not file.optional]
        if not lacking:
            paths = [path for path in found.values() if path is not None]
            whole = paths[0] if suite.single_file else folder
            return Found(whole, hash_files(paths), tuple(file.name for file in absent))
        if not missing or len(lacking) < len(missing):
            missing = lacking
    where = " nor in ".join(str(folder) for folder in (data / suite.folder, data))
    raise DataError(
        f"{suite.name} needs {len(missing)} files that are neither in {where}:\n"
        + "\n".join(_wanted(missing, data / suite.folder))
    )


def hash_files(paths: Iterable[Path]) -> str:
    """One hash over the names and bytes of some files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _wanted(files: Iterable[SuiteFile], folder: Path) -> Iterator[str]:
    for file in files:
        names = " or ".join((file.name, *file.or_else))
        ways = [file.where] if file.where else []
        if file.dataset:
            category = f" --category {file.category}" if file.category else ""
            ways.append(f"kgrec data fetch {file.dataset}{category} --out {folder}")
        yield f"  {names} (plain, .gz or .zst): {'; or: '.join(ways) or 'not public'}"
