"""Public data sets, downloaded whole or not at all, resumed where they broke off.

A file is written as `NAME.part` and renamed once its size and hash are right. `SHA256SUMS` beside
it (the format of `sha256sum`) keeps the hash of every file fetched, so that a later change, here or
on the server, does not go unnoticed.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from kgrec.atomic import claim, replace_file
from kgrec.datasets import DATASETS, Dataset, RemoteFile
from kgrec.errors import ConfigError, DataError, nearest
from kgrec.progress import say, track

_CHUNK = 1 << 20
_SUMS = "SHA256SUMS"
_AGENT = "kgrec"


class _Broken(Exception):
    """The connection ended early or the server was busy: worth another attempt."""


def list_datasets() -> tuple[Dataset, ...]:
    """Every data set that `fetch` knows."""
    return DATASETS


def find_dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        ConfigError: There is none.
    """
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    raise ConfigError(f"unknown data set '{name}'{nearest(name, (d.name for d in DATASETS))}")


def fetch(
    name: str,
    folder: str | Path,
    *,
    category: str | None = None,
    base_url: str | None = None,
    attempts: int = 4,
    wait_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
) -> list[Path]:
    """Downloads a public data set into a folder; a second call goes on where the first broke off.

    Args:
        name: One of `list_datasets()`.
        folder: Where the files go; made when absent.
        category: Which part of the set, where it comes in parts (`Beauty`).
        base_url: A mirror: a folder on a server that holds the same file names.
        attempts: How often a broken connection is tried, each going on where the last ended.
        wait_seconds: Pause before the second attempt; doubled before each further one.
        timeout_seconds: How long a silent server is waited for.

    Returns:
        The files, archives replaced by what was in them.

    Raises:
        ConfigError: An unknown name or category, a mirror that is no web address.
        DataError: It cannot be had: a login is needed, no network, not found, a full disk, a hash
            that differs. What was received so far is kept.
    """
    dataset = find_dataset(name)
    if dataset.by_hand:
        raise DataError(f"{name} needs a login: {dataset.by_hand}")
    _check_category(dataset, category)
    if base_url is not None and urlsplit(base_url).scheme not in ("http", "https"):
        raise ConfigError(f"'{base_url}' is not a web address; begin it with https://")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with claim(folder / _SUMS):
        for remote in dataset.files:
            url = remote.at(category, base_url)
            path = folder / urlsplit(url).path.rsplit("/", 1)[-1]
            known = _known_hash(path, remote)
            if not _is_here(path, known):
                waits = [wait_seconds * 2**n for n in range(attempts - 1)]
                _persist(url, path, known, dataset, waits, timeout_seconds)
            files += _unpack(path) if remote.unpack else [path]
    return files


def _persist(
    url: str,
    path: Path,
    known: str | None,
    dataset: Dataset,
    waits: list[float],
    timeout_seconds: float,
) -> None:
    for wait in [*waits, None]:
        try:
            return _download(url, path, known, dataset, timeout_seconds)
        except _Broken as error:
            if wait is None:
                raise DataError(
                    f"{url}: {error}; what came so far is kept: run the same again to go on"
                ) from None
            time.sleep(wait)


def _check_category(dataset: Dataset, category: str | None) -> None:
    if not dataset.categories:
        if category is not None:
            raise ConfigError(f"{dataset.name} is one set: leave out the category '{category}'")
        return
    if category is None:
        raise ConfigError(
            f"{dataset.name} comes by category; give one of: {', '.join(dataset.categories)}"
        )
    if category not in dataset.categories:
        hint = nearest(category, dataset.categories)
        raise ConfigError(f"{dataset.name} has no category '{category}'{hint}")


def _is_here(path: Path, known: str | None) -> bool:
    """Whether the file is complete; a hash that differs is the caller's to resolve."""
    if not path.exists():
        return False
    found = _sha256(path)
    if known is None:
        say(f"{path} was here already; its hash is recorded, but nothing vouches for it")
        _record(path, found)
    elif found != known:
        raise DataError(
            f"{path} has sha256 {found}, not {known}: it was changed or cut short; "
            "delete it and fetch again"
        )
    return True


def _download(
    url: str, path: Path, known: str | None, dataset: Dataset, timeout_seconds: float
) -> None:
    part = path.with_name(f"{path.name}.part")
    tag_file = path.with_name(f"{path.name}.part.tag")
    tag = tag_file.read_text(encoding="utf-8") if tag_file.exists() else ""
    offset = part.stat().st_size if part.exists() else 0
    if offset and not (tag or known):
        offset = 0  # nothing would tell a changed file from a resumed one
    request = urllib.request.Request(url, headers=_headers(offset, tag))
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
            if response.status != 206:
                offset = 0  # the server ignores Range, or the file has changed: from the start
            tag_file.write_text(_tag_of(response), encoding="utf-8")
            _receive(response, part, offset)
    except urllib.error.HTTPError as error:
        if error.code == 416 and _complete(error, part):
            pass  # all of it had come before the break
        else:
            _refuse(error, url, part, tag_file, dataset)
    except urllib.error.URLError as error:
        raise _Broken(
            f"cannot reach {urlsplit(url).hostname} ({error.reason}): is there a network, or a "
            "proxy to set? --base-url names a mirror"
        ) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Broken(f"the connection broke off ({type(error).__name__})") from None
    tag_file.unlink(missing_ok=True)
    _accept(part, path, known, url)


def _headers(offset: int, tag: str) -> dict[str, str]:
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if tag:
            headers["If-Range"] = tag
    return headers


def _tag_of(response: http.client.HTTPResponse) -> str:
    """What tells this version of the file from another; a weak ETag may not be used for that."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return str(response.headers.get("Last-Modified", ""))


def _receive(response: http.client.HTTPResponse, part: Path, offset: int) -> None:
    announced = response.headers.get("Content-Length")
    remaining = int(announced) if announced is not None else None
    free = shutil.disk_usage(part.parent).free
    if remaining is not None and remaining > free:
        raise DataError(
            f"the disk of {part.parent} has {free:,} bytes free, {part.stem} needs {remaining:,} "
            "more: make room, or fetch into another folder"
        )
    steps = -(-remaining // _CHUNK) if remaining is not None else None
    try:
        with part.open("ab" if offset else "wb") as out:
            for chunk in track(_chunks(response), part.stem, steps, "MiB"):
                out.write(chunk)
    except OSError as error:  # reading raises _Broken, so this is the disk
        raise DataError(
            f"cannot write {part} ({error.strerror}); what came so far is kept: make room or "
            "choose another folder, then run the same again"
        ) from None
    if remaining is not None and part.stat().st_size != offset + remaining:
        raise _Broken(
            f"the connection ended at {part.stat().st_size:,} of {offset + remaining:,} bytes"
        )


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except (http.client.HTTPException, OSError) as error:
        raise _Broken(f"the connection broke off ({type(error).__name__})") from None


def _complete(error: urllib.error.HTTPError, part: Path) -> bool:
    """Whether a refused Range says that the part is the whole file."""
    return error.headers.get("Content-Range", "") == f"bytes */{part.stat().st_size}"


def _refuse(
    error: urllib.error.HTTPError, url: str, part: Path, tag_file: Path, dataset: Dataset
) -> None:
    if error.code == 416:
        part.unlink(missing_ok=True)
        tag_file.unlink(missing_ok=True)
        raise _Broken("the file on the server is shorter than what came before: starting again")
    if error.code in (408, 425, 429, 500, 502, 503, 504):
        raise _Broken(f"the server answers {error.code} {error.reason}")
    raise DataError(
        f"{url}: the server answers {error.code} {error.reason}; see {dataset.page} for where "
        "the file is now, or name a mirror with --base-url"
    )


def _accept(part: Path, path: Path, known: str | None, url: str) -> None:
    """Moves a complete download into place once its hash is right."""
    found = _sha256(part)
    if known is not None and found != known:
        bad = path.with_name(f"{path.name}.bad")
        part.replace(bad)
        raise DataError(
            f"{url} gave sha256 {found}, not {known}: the download was damaged or the file on the "
            f"server has changed; it is kept as {bad}. To accept a changed file, delete its line "
            f"in {path.parent / _SUMS} if there is one, and rename it"
        )
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)
    _record(path, found)


def _known_hash(path: Path, remote: RemoteFile) -> str | None:
    return remote.sha256 or _recorded(path.parent).get(path.name)


def _recorded(folder: Path) -> dict[str, str]:
    file = folder / _SUMS
    if not file.exists():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines) if name}


def _record(path: Path, sha256: str) -> None:
    sums = _recorded(path.parent) | {path.name: sha256}
    with replace_file(path.parent / _SUMS) as beside:
        lines = (f"{value}  {name}\n" for name, value in sorted(sums.items()))
        beside.write_text("".join(lines), encoding="utf-8")


def _unpack(path: Path) -> list[Path]:
    """The files of a zip, beside it, folders inside it dropped; those already there are kept."""
    unpacked = []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = Path(member.filename).name  # never outside the folder
                if member.is_dir() or member.filename.startswith("__MACOSX"):
                    continue
                target = path.with_name(name)
                if not target.exists() or target.stat().st_size != member.file_size:
                    with (
                        archive.open(member) as source,
                        replace_file(target) as beside,
                        beside.open("wb") as out,
                    ):
                        shutil.copyfileobj(source, out, _CHUNK)
                unpacked.append(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} is not a whole zip ({error}); delete it and fetch again") from None
    return unpacked


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
