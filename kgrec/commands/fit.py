"""`kgrec fit`: tables to a model folder."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec.commands.common import (
    DEBUG,
    Commands,
    add_budget,
    add_data,
    add_engine,
    add_json,
    at_least_one,
    load_lines,
    open_engine,
    show,
    show_json,
)
from kgrec.errors import ConfigError

if TYPE_CHECKING:
    from kgrec.config import Config
    from kgrec.engine import Engine
    from kgrec.recommender import Recommender
    from kgrec.shop import Shop

_CONFIG_HELP = "TOML file of options: [load], [split], [text], [network], [ranker], [index]"


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "fit",
        parents=[DEBUG],
        help="tables to a model",
        description="Reads tables through a schema, fits every stage and writes a model folder. "
        "The last interaction of each user is held out for `kgrec evaluate`, unless --split says "
        "otherwise. A fit that was killed goes on where it was when it is repeated.",
    )
    add_data(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="MODEL", help="folder for the model"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG_HELP)
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="STAGE.FIELD=VALUE",
        help="one option, winning over --config; may be repeated",
    )  # fmt: skip
    parser.add_argument("--split", metavar="METHOD", help="the same as --set split.method=METHOD")
    parser.add_argument("--seed", type=int, metavar="N", help="the same as --set seed=N")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="where text embeddings are kept between fits (default: $KGREC_CACHE, else a folder "
        "kgrec in your cache folder)",
    )  # fmt: skip
    add_budget(parser)
    add_engine(parser)
    parser.add_argument(
        "--training-workers", type=at_least_one, default=1, metavar="N",
        help="with --engine ray: processes that train the graph network together, each on its "
        "share of every batch (default: %(default)s, the process that was started)",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Does it."""
    from kgrec.artefact import check_replaceable
    from kgrec.atomic import claim

    if args.training_workers > 1 and args.engine == "local":
        raise ConfigError("--training-workers are processes of a Ray cluster: give --engine ray")
    with claim(args.out):  # held from here on: a second fit must hear of this one at once
        check_replaceable(args.out)
        with open_engine(args.engine, args.training_workers) as engine:
            shop, recommender = _fit(args, engine)
    if args.json:
        show_json(recommender.fit_report)
        return
    seconds = recommender.fit_report.get("seconds", {})
    lines = load_lines(shop.report)
    lines += [f"{stage}: {value:.1f} seconds" for stage, value in seconds.items()]
    show("\n".join(lines))
    show(f"{len(shop.users):,} users, {len(shop.items):,} items; the model is in {args.out}")


def _fit(args: argparse.Namespace, engine: Engine) -> tuple[Shop, Recommender]:
    from kgrec.config import Config
    from kgrec.loading import load
    from kgrec.pipeline import fit

    config = Config.from_toml(args.config, _overrides(args))
    rejects = config.load.reject_file or f"{args.out}-rejected.tsv"
    shop = load(args.data, args.schema, replace(config.load, reject_file=rejects))
    config = _that_fits(shop, config, args)
    cache = args.cache or default_cache()
    return shop, fit(shop, config, out=args.out, cache=cache, engine=engine)


def _that_fits(shop: Shop, config: Config, args: argparse.Namespace) -> Config:
    """The configuration, or one within the budget; refused where the machine has too little."""
    from kgrec.estimate import ShopSizes
    from kgrec.estimate_choice import Room, choose, fit_options

    sizes = ShopSizes.of(shop, config)
    chosen = choose(
        "fit",
        Room.here(args.out, args.memory_budget),
        sizes.estimate(config),
        fit_options(config),
        lambda option: sizes.estimate(option[1]),
        lambda option: option[0],
        may_choose=args.memory_budget is not None,
    )
    return config if chosen is None else chosen[1]


def _overrides(args: argparse.Namespace) -> list[str]:
    overrides: list[str] = list(args.overrides)
    if args.split is not None:
        overrides.append(f"split.method={args.split}")
    if args.seed is not None:
        overrides.append(f"seed={args.seed}")
    return overrides


def default_cache() -> Path:
    """Where text embeddings are kept when no --cache says."""
    if own := os.environ.get("KGREC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kgrec"
