"""Files and folders written whole or not at all, by one writer at a time.

A writer claims the path, writes a hidden sibling, waits for the disk, renames. A crash at any
moment leaves what was there before, or the new, never a mixture; the next writer tidies up.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kgrec.errors import ArtefactError, KgrecError


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Holds `path` against other writers; the same thread may claim it again within.

    The lock is the kernel's, so that of a process that died, even by SIGKILL, is free at once;
    what such a process had half written beside `path` is removed here, and an old model that it
    had moved aside without putting the new one in place is put back.

    Raises:
        ArtefactError: Another process is writing; the message gives its process id.
        KgrecError: What should be the parent folder is a file.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise KgrecError(f"cannot write {path}: {path.parent} is not a folder") from None
    lock_file = path.parent / f".{path.name}.lock"
    lock = FileLock(lock_file, timeout=0, is_singleton=True)
    outermost, holder = not lock.is_locked, "another process"
    try:
        lock.acquire()
    except Timeout:
        with suppress(OSError):
            holder = lock_file.read_text(encoding="utf-8") or holder
        raise ArtefactError(
            f"{path} is being written by {holder}; wait for it to end, or choose another --out"
        ) from None
    try:
        if outermost:
            lock_file.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
            _recover(path)
        yield
    finally:
        if outermost:
            with suppress(OSError):  # unlinked while held: a waiter finds the name gone and retries
                lock_file.unlink()
        lock.release()


def _recover(path: Path) -> None:
    """Undoes what a dead writer left; called with the lock held, so that no live one is hurt."""
    for aside in _siblings(path, "old"):
        if path.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(path)
    for partial in _siblings(path, "partial"):
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink()


def _beside(path: Path, role: str) -> Path:
    return path.absolute().parent / f".{path.name}.{role}-{os.getpid()}"


def _siblings(path: Path, role: str) -> list[Path]:
    start = f".{path.name}.{role}-"
    parent = path.absolute().parent
    if not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if p.name.startswith(start))


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Has `fill` write a sibling of `path`, then puts it there; call it with `path` claimed.

    Args:
        path: The folder to be; what was there is deleted once the new one is in place.
        fill: Writes the files into the empty folder it is given.
    """
    beside = _beside(path, "partial")
    try:
        beside.mkdir()
        fill(beside)
        swap(beside, path)
    except BaseException:  # Ctrl-C too: nothing half written stays
        shutil.rmtree(beside, ignore_errors=True)
        raise


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Gives a sibling to write to, and renames it to `path` at the end; call it claimed."""
    beside = _beside(path, "partial")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
        _sync(path.absolute().parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def swap(new: Path, path: Path) -> None:
    """Renames the folder `new` to `path`, synced; what was there goes only after that."""
    for file in sorted(new.rglob("*")):
        _sync(file)
    _sync(new)
    if not path.exists():
        new.rename(path)
    else:
        aside = _beside(path, "old")
        try:
            path.rename(aside)
            new.rename(path)
        except BaseException:
            if aside.exists() and not path.exists():
                aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(path.absolute().parent)


def interrupted(path: Path) -> Path | None:
    """Where the old folder is when a writer died between the two renames of `swap`."""
    return next(iter(_siblings(path, "old")), None)


def _sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle on a folder to sync
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_space(path: Path) -> Iterator[None]:
    """Turns a full disk, however a library words it, into a sentence with bytes.

    Raises:
        KgrecError: The disk of `path` is full.
    """
    parent = path.absolute().parent
    before = _free(parent)
    try:
        yield
    except Exception as error:
        # safetensors, FAISS and Arrow raise errors of their own that quote the system's words.
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left on device" not in str(error):
            raise
        raise KgrecError(
            f"the disk of {parent} is full: writing {path.name} needs more than the {before:,} "
            "bytes that were free; nothing half written was left: make room, or write elsewhere"
        ) from error


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
