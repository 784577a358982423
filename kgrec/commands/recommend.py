"""`kgrec recommend`: lists for everybody, for some, or for a history."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec.commands.common import (
    DEBUG,
    Commands,
    add_budget,
    add_engine,
    add_json,
    add_model,
    at_least_one,
    comma_separated,
    open_engine,
    show_table,
    title,
    users_at_once,
)
from kgrec.errors import ConfigError, DataError
from kgrec.progress import say

if TYPE_CHECKING:
    import polars as pl

    from kgrec.engine import Engine
    from kgrec.interactions import Interactions
    from kgrec.recommender import Recommender
    from kgrec.vocabulary import Indices


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "recommend",
        parents=[DEBUG],
        help="lists for everyone, some users, or a history",
        description="Writes user_id, item_id, score and rank in your own ids, for every user "
        "unless some are named. Without --out prints a table.",
    )
    add_model(parser)
    parser.add_argument(
        "-k", type=at_least_one, default=20, help="items a list (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".parquet, .csv or .jsonl; a folder with --shards"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--users", type=Path, metavar="FILE",
        help="users to make lists for: one id a line, or a column user_id of a .csv or .parquet",
    )  # fmt: skip
    who.add_argument("--user", action="append", metavar="ID", help="one user; may be repeated")
    who.add_argument(
        "--history", type=comma_separated, metavar="ITEM,ITEM,...",
        help="what a user nobody has seen before had, oldest first",
    )  # fmt: skip
    parser.add_argument(
        "--where", metavar="EXPR", help="only items for which this holds: \"brand = 'Acme'\""
    )
    parser.add_argument(
        "--shards", type=at_least_one, default=1, metavar="N",
        help="files to write; finished ones are kept when a run is killed",
    )  # fmt: skip
    parser.add_argument(
        "--history-part", choices=("all", "train"), default="all",
        help="rank by everything known (all, the default), or without the held-out part (train), "
        "to score the lists against it",
    )  # fmt: skip
    parser.add_argument(
        "--keep-seen", action="store_true", help="lists may hold what the user has had"
    )
    add_budget(parser)
    add_engine(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.recommender import load_model

    if args.out is None and not (args.users or args.user or args.history is not None):
        raise ConfigError("lists for every user need --out FILE; or name some: --user ID")
    if args.shards > 1 and args.out is None:
        raise ConfigError("--shards needs --out DIR")
    if args.shards == 1 and args.engine == "ray":
        raise ConfigError(
            "--engine ray spreads the shards of lists: give --shards N, some for each worker, and "
            "--out DIR"
        )
    with open_engine(args.engine) as engine:
        n_at_once = _that_fits(args)
        recommender = load_model(args.model)
        if args.history is not None:
            _for_history(recommender, args)
        else:
            _for_users(recommender, args, engine, n_at_once)


def _that_fits(args: argparse.Namespace) -> int | None:
    """Users to rank at once; None for as many as usual."""
    from kgrec.estimate import estimate_lists

    some = 1 if args.history is not None else len(args.user) if args.user else None
    return users_at_once(
        "recommend",
        args.model,
        lambda shape, batch: estimate_lists(shape, args.k, n_users=some, batch=batch),
        args.memory_budget,
        args.out,
        fewer=args.out is not None,
    )


def _for_history(recommender: Recommender, args: argparse.Namespace) -> None:
    import polars as pl

    from kgrec.list_files import write_table
    from kgrec.lists import checked_k

    if not args.history:
        say("the history is empty: the list is the popular items")
    lists = recommender.recommend(
        histories=[args.history],
        k=checked_k(args.k, len(recommender.items)),
        where=args.where,
        exclude_seen=not args.keep_seen,
    )
    if args.out is None:
        show_table(_with_titles(recommender, pl.from_pandas(lists)), args.json)
    else:
        write_table(args.out, pl.from_pandas(lists))


def _for_users(
    recommender: Recommender, args: argparse.Namespace, engine: Engine, n_at_once: int | None
) -> None:
    from kgrec.lists import list_table, write_lists

    options = {
        "users": _users(recommender, args),
        "k": args.k,
        "history": _history(recommender, args.history_part),
        "allowed": recommender.allowed(args.where),
        "exclude_seen": not args.keep_seen,
    }
    if args.out is None:
        table = list_table(recommender, **options)
        show_table(_with_titles(recommender, table), args.json)
        return
    rows = write_lists(
        recommender,
        args.out,
        shards=args.shards,
        batch_size=n_at_once,
        model_hash=_model_hash(args.model),
        engine=engine,
        **options,
    )
    say(f"{rows:,} rows are in {args.out}")


def _model_hash(model: Path) -> str:
    """What tells this model from others: its manifest lists the hash of every file."""
    import hashlib

    from kgrec.artefact import MANIFEST

    return hashlib.sha256((model / MANIFEST).read_bytes()).hexdigest()


def _history(recommender: Recommender, part: str) -> Interactions | None:
    """The histories to rank by; None for those that the recommender holds."""
    if recommender.held_out is None:
        return None
    n = len(recommender.held_out)
    if part == "train":
        say(f"the {n:,} interactions held out for `kgrec evaluate` are left out of the histories")
        return None
    n_later = 0 if recommender.later is None else len(recommender.later)
    later = f" and {n_later:,} of the same time" if n_later else ""
    say(f"histories include the {n:,} interactions held out for `kgrec evaluate`{later}; to score "
        "the lists against these, use --history-part train")  # fmt: skip
    return recommender.full_history()


def _users(recommender: Recommender, args: argparse.Namespace) -> Indices | None:
    """Indices of the users that were asked for, each once; None for all."""
    import polars as pl

    if args.user is None and args.users is None:
        return None
    asked = pl.Series(args.user, dtype=pl.String) if args.user else read_ids(args.users)
    distinct = asked.unique(maintain_order=True)
    if len(distinct) < len(asked):
        say(f"{len(asked) - len(distinct):,} user ids stand more than once; each gets one list")
    return recommender.users.indices(distinct)


def read_ids(file: Path) -> pl.Series:
    """User ids of a file: one a line, or the column user_id of a .csv or .parquet.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    import polars as pl

    try:
        if file.suffix == ".parquet":
            table = pl.read_parquet(file)
        elif file.suffix == ".csv":
            table = pl.read_csv(file, infer_schema=False)  # ids are text: leading zeros survive
        else:
            lines = (line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines())
            return pl.Series("user_id", [line for line in lines if line], dtype=pl.String)
    except OSError as error:
        raise DataError(f"cannot read the users in {file}: {error.strerror or error}") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the users in {file}: {error}") from None
    if "user_id" not in table.columns:
        raise DataError(
            f"column 'user_id' is missing from {file}; it has {', '.join(table.columns)}"
        )
    return table["user_id"].cast(pl.String).drop_nulls()


def _with_titles(recommender: Recommender, table: pl.DataFrame) -> pl.DataFrame:
    """The lists with a short human name of each item, where the catalogue has any."""
    import polars as pl

    items = recommender.items.indices(table["item_id"])
    titles = [title(recommender.item_table, int(item)) for item in items]
    return table.with_columns(pl.Series("title", titles, dtype=pl.String)) if any(titles) else table
