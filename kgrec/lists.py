"""Ranked lists on disk: for every user, in the caller's own ids, in bounded memory.

One file, or a folder of shards. A file appears under its name only when it is whole; a run that
was killed and is repeated with the same model and options skips the shards that were finished.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

import kgrec
from kgrec.atomic import claim, disk_space, replace_file, swap
from kgrec.engine import LOCAL, Engine
from kgrec.errors import ConfigError, KgrecError
from kgrec.interactions import Interactions
from kgrec.list_files import WRITERS, check_suffix
from kgrec.progress import say, track
from kgrec.topk import ListSource, Mask, TopK
from kgrec.topk import batch_size as sized
from kgrec.vocabulary import Indices, Vocabulary

RECORD = "_lists.json"
"""What a folder of shards was made of; readers of Parquet folders pass over a leading `_`."""
_ROWS_A_GROUP = 2**18


class NamedSource(ListSource, Protocol):
    """A source of lists that knows the callers' ids."""

    @property
    def users(self) -> Vocabulary:
        """Everybody who may be asked for."""

    @property
    def items(self) -> Vocabulary:
        """The catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One request for lists, checked."""

    source: NamedSource
    k: int
    batch_size: int
    history: Interactions | None
    allowed: Mask | None
    exclude_seen: bool
    suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file of a folder of them."""

    path: Path
    users: Indices
    what: str


def write_lists(
    recommender: NamedSource,
    out: Path,
    *,
    k: int,
    users: Indices | None = None,
    shards: int = 1,
    batch_size: int | None = None,
    history: Interactions | None = None,
    allowed: Mask | None = None,
    exclude_seen: bool = True,
    model_hash: str | None = None,
    engine: Engine = LOCAL,
) -> int:
    """Writes user_id, item_id (text), score (float32) and rank (int32, from 1), best first.

    Args:
        recommender: Where the lists come from.
        out: `.parquet`, `.csv` or `.jsonl`; with `shards` > 1 a folder of such files, replaced
            whole when the last one is done.
        k: Items a user, >= 1; a list is shorter where the catalogue, less what the user has seen
            and what is not allowed, has no more.
        users: Indices of users, (n,); None for all.
        shards: Number of files, >= 1; user order runs through them.
        batch_size: Users ranked at once; None chooses by the size of the catalogue.
        history: Replaces the histories that the recommender holds.
        allowed: Items that lists may hold, (n_items,); None for all.
        exclude_seen: Whether items of the user's history are left out.
        model_hash: What tells this model from others; without it, nothing is skipped.
        engine: Makes the shards, each of which a worker writes where `out` will be: in a folder
            that all machines see. Their bytes are the same on every engine.

    Returns:
        Rows in the lists, those of skipped shards included.

    Raises:
        ConfigError: `k`, `shards` or `batch_size` is below 1, or the suffix is none of the three.
        KgrecError: `out` is something else, or the disk is full; finished shards are kept.
        ArtefactError: Another process is writing `out`.
    """
    job = _Job(
        source=recommender,
        k=checked_k(k, len(recommender.items)),
        batch_size=sized(len(recommender.items)) if batch_size is None else batch_size,
        history=history,
        allowed=allowed,
        exclude_seen=exclude_seen,
        suffix=out.suffix if shards == 1 or out.suffix else ".parquet",
    )
    _check(job, out, shards)
    chosen = _chosen(recommender, users)
    with disk_space(out), claim(out):
        if shards == 1:
            with replace_file(out) as beside:
                rows = _write_file(job, beside, chosen, "lists")
        else:
            rows = _write_shards(job, out, chosen, shards, model_hash, engine)
    _say_empty(history or recommender.history, chosen)
    return rows


def list_table(
    recommender: NamedSource,
    *,
    k: int,
    users: Indices | None = None,
    history: Interactions | None = None,
    allowed: Mask | None = None,
    exclude_seen: bool = True,
) -> pl.DataFrame:
    """The lists that `write_lists` would write, in memory and ranked at once: for a few users.

    Raises:
        ConfigError: `k` is below 1.
    """
    chosen, k = _chosen(recommender, users), checked_k(k, len(recommender.items))
    top = recommender.top_k(chosen, k, history=history, allowed=allowed, exclude_seen=exclude_seen)
    _say_empty(history or recommender.history, chosen)
    return _table(recommender, chosen, top)


def _chosen(recommender: NamedSource, users: Indices | None) -> Indices:
    if users is None:
        return np.arange(len(recommender.users), dtype=np.int64)
    return np.asarray(users, np.int64)


def checked_k(k: int, n_items: int) -> int:
    """The length of lists: `k`, or the catalogue where that is smaller, which is said.

    Raises:
        ConfigError: `k` is below 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; a list has at least 1 item")
    if k > n_items:
        say(f"k is {k} and the catalogue has {n_items} items: lists end with the catalogue")
    return min(k, n_items)


def _check(job: _Job, out: Path, shards: int) -> None:
    for name, value in (("shards", shards), ("batch_size", job.batch_size)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it is at least 1")
    check_suffix(out, job.suffix)
    if shards == 1 and out.is_dir():
        raise KgrecError(f"{out} is a folder; give a file, or --shards for a folder of files")
    if shards == 1 or not out.exists():
        return
    strange = "it" if out.is_file() else None
    if out.is_dir():
        names = {path.name for path in out.iterdir()}
        strange = next((f"'{n}' in it" for n in sorted(names) if not _is_ours(n)), None)
    if strange:
        raise KgrecError(f"{out} exists and kgrec did not write {strange}: move it away first")


def _is_ours(name: str) -> bool:
    return name == RECORD or (name.startswith("part-") and name.endswith(tuple(WRITERS)))


def _say_empty(history: Interactions, users: Indices) -> None:
    weight = np.bincount(history.user, history.weight, minlength=history.n_users)
    empty = int((weight[users] == 0).sum())
    if empty:
        say(f"{empty:,} of {len(users):,} users have no history: their lists are the popular items")


def _write_shards(
    job: _Job, out: Path, users: Indices, shards: int, model_hash: str | None, engine: Engine
) -> int:
    """Fills a sibling folder shard by shard, skipping finished ones, then renames it."""
    key = _key(job, users, shards, model_hash)
    finished = _read_record(out, key)
    if len(finished) == shards:
        say(f"{out} holds these lists already")
        return sum(finished.values())
    folder = out.absolute().parent / f".{out.name}.unfinished"
    finished = _read_record(folder, key)
    if not finished and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    _tidy(folder)
    if finished:
        say(f"going on after {len(finished)} of {shards} shards")
    try:
        todo = [one for one in _shards(job, folder, users, shards) if one.path.name not in finished]
        written = engine.map(_write_shard, todo, job)
        for number, rows in track(written, "lists", len(todo), "shard"):
            finished[todo[number].path.name] = rows
            record = {"made_of": key, "rows": dict(sorted(finished.items()))}
            with replace_file(folder / RECORD) as beside:
                beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except BaseException:
        if finished and model_hash:
            say(f"{len(finished)} of {shards} shards are finished; repeat the command to go on")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    _tidy(folder)
    swap(folder, out)
    return sum(finished.values())


def _tidy(folder: Path) -> None:
    """Removes what killed processes, perhaps workers of this very run, had half written."""
    for half_written in folder.glob(".*"):
        half_written.unlink()


def _shards(job: _Job, folder: Path, users: Indices, shards: int) -> Iterator[_Shard]:
    for number, part in enumerate(np.array_split(users, shards)):
        path = folder / f"part-{number:05d}{job.suffix}"
        yield _Shard(path=path, users=part, what=f"shard {number + 1} of {shards}")


def _write_shard(job: _Job, shard: _Shard) -> int:
    """Writes one file whole, perhaps in a worker on another machine; the number of rows."""
    if not shard.path.parent.is_dir():
        raise KgrecError(
            f"{platform.node()} does not see {shard.path.parent}: choose an --out that is the same "
            "folder on every machine of the cluster"
        )
    with replace_file(shard.path) as beside:
        return _write_file(job, beside, shard.users, shard.what)


def _key(job: _Job, users: Indices, shards: int, model_hash: str | None) -> dict[str, Any]:
    """What two runs must share for their shards to be interchangeable."""
    history = job.history
    parts: list[npt.NDArray[Any]] = [users]
    if history is not None:
        parts += [history.user, history.item, history.behaviour, history.time, history.weight]
    if job.allowed is not None:
        parts.append(job.allowed)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype} {part.shape} ".encode() + np.ascontiguousarray(part).tobytes())
    return {
        "kgrec": kgrec.__version__,
        "model": model_hash,
        "k": job.k,
        "shards": shards,
        "batch_size": job.batch_size,
        "exclude_seen": job.exclude_seen,
        "own_history": history is not None,
        "arrays": digest.hexdigest(),
    }


def _read_record(folder: Path, key: dict[str, Any]) -> dict[str, int]:
    """Rows of each finished shard of a folder made of the same; empty when it was not."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        rows = record["rows"] if record["made_of"] == key and key["model"] is not None else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {name: n for name, n in rows.items() if (folder / name).is_file()}


def _write_file(job: _Job, path: Path, users: Indices, what: str) -> int:
    """Writes the lists of some users, a batch at a time; the number of rows."""
    rows, waiting = 0, list[pl.DataFrame]()
    with WRITERS[job.suffix](path) as write:
        for batch in _batches(users, job.batch_size, what):
            top = job.source.top_k(
                batch,
                job.k,
                history=job.history,
                allowed=job.allowed,
                exclude_seen=job.exclude_seen,
            )
            waiting.append(_table(job.source, batch, top))
            if sum(map(len, waiting)) >= _ROWS_A_GROUP:
                write(pl.concat(waiting))
                rows += sum(map(len, waiting))
                waiting = []
        if waiting:
            write(pl.concat(waiting))
            rows += sum(map(len, waiting))
    return rows


def _batches(users: Indices, size: int, what: str) -> Iterator[Indices]:
    """Consecutive slices of users; the bar counts users, so that its rate means something."""
    begin = 0
    for at in track(range(1, len(users) + 1), what, unit=" users"):
        if at == len(users) or at - begin == size:
            yield users[begin:at]
            begin = at


def _table(source: NamedSource, users: Indices, top: TopK) -> pl.DataFrame:
    """The lists of some users in the caller's ids."""
    row, place = np.nonzero(top.items >= 0)
    return pl.DataFrame(
        {
            "user_id": source.users.take(users[row]),
            "item_id": source.items.take(top.items[row, place]),
            "score": top.scores[row, place],
            "rank": (place + 1).astype(np.int32),
        }
    )
