"""`kgrec benchmark`: our model beside tuned baselines, on a public set or on your own tables."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec.commands.common import (
    DEBUG,
    Commands,
    add_json,
    at_least_one,
    comma_separated,
    show,
    show_json,
)
from kgrec.errors import ConfigError

if TYPE_CHECKING:
    from kgrec.benchmark.suite import Suite

_OWN_PROTOCOL = (
    "The last interaction of each user tests (where the data came with a test part, that part; "
    "where it has no order, one drawn at random), the one before validates, full ranking, items "
    "of the history left out."
)


def add(commands: Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "benchmark",
        parents=[DEBUG],
        help="measure the model beside tuned baselines",
        description="Fits our model, its ablations and the baselines, each in a process of its "
        "own, tuned on validation data; scores their lists on the test part; writes result.json, "
        "report.md, report.html and every list. A run that was stopped goes on when it is "
        "repeated.",
    )
    parser.add_argument(
        "suite", metavar="SUITE", nargs="?", help="a name that --list gives, or a TOML file"
    )
    parser.add_argument("--list", action="store_true", help="the suites that ship")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"),
        help="what changed between two results, and whether it is noise",
    )  # fmt: skip
    parser.add_argument(
        "--schema", metavar="S", help="instead of SUITE: tables of your own, read by this schema"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder of the data sets")
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="folder for the results (default: benchmark-SUITE)"
    )
    _add_limits(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=comma_separated, metavar="A,B", help="only these rows")
    parser.add_argument(
        "--trials", type=at_least_one, metavar="N", help="configurations that each row may try"
    )
    parser.add_argument("--seeds", type=_seeds, metavar="7,8,9", help="of what is random")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="STAGE.FIELD=VALUE",
        help="one option of our model, or of split and load for all; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--seconds-per-row", type=float, metavar="N", help="wall-clock limit of a row and seed"
    )
    parser.add_argument("--memory-gib", type=float, metavar="N", help="memory limit of a row")
    parser.add_argument(
        "--jobs", type=at_least_one, default=1, metavar="N",
        help="rows fitted side by side, each with its share of the cores (default: 1)",
    )  # fmt: skip


def _seeds(text: str) -> tuple[int, ...]:
    seeds = tuple(int(part) for part in comma_separated(text))
    if not seeds:
        raise argparse.ArgumentTypeError("name one seed at least")
    return seeds


def run(args: argparse.Namespace) -> None:
    """Does it."""
    asked = [bool(args.list), args.compare is not None, bool(args.suite), args.schema is not None]
    if sum(asked) != 1:
        raise ConfigError("say one of: SUITE, --schema S, --list, --compare A.json B.json")
    if args.list:
        _list(args)
    elif args.compare:
        from kgrec.benchmark.compare import compare, differences

        if args.json:
            show_json(differences(*args.compare))
        else:
            show(compare(*args.compare))
    else:
        _run(args)


def _list(args: argparse.Namespace) -> None:
    from kgrec.benchmark.suite import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    if args.json:
        show_json([{"name": s.name, "title": s.title, "folder": s.folder} for s in suites])
        return
    for suite in suites:
        show(f"{suite.name}\n    {suite.title}. {suite.about}")


def _run(args: argparse.Namespace) -> None:
    from kgrec.benchmark.runner import run_suite
    from kgrec.benchmark.state import Options
    from kgrec.benchmark.suite import load_suite
    from kgrec.config import Config

    if args.data is None:
        raise ConfigError("say where the data is: --data DIR")
    Config.from_toml(None, args.overrides)  # a misspelt option is said before anything is read
    suite = load_suite(args.suite) if args.suite else own_suite(args.schema, args.data)
    out = args.out or Path(f"benchmark-{suite.name}")
    options = Options(
        data=args.data,
        out=out,
        rows=None if args.rows is None else tuple(args.rows),
        trials=args.trials,
        seeds=args.seeds,
        overrides=tuple(args.overrides),
        seconds=args.seconds_per_row,
        memory_gib=args.memory_gib,
        jobs=args.jobs,
        command=_typed(sys.argv[1:], {str(args.data): "DIR", str(args.out): "OUT"}),
    )
    result = run_suite(suite, options)
    if args.json:
        show_json(result)
        return
    show("\n".join(_table(result)))
    report = next(name for name in ("report.html", "report.md") if (out / name).is_file())
    show(f"the report is {out / report}; figures in {out / 'result.json'}")


def _typed(arguments: Sequence[str], names: Mapping[str, str]) -> str:
    """The command for others to repeat: whose disk it ran on is nobody's business."""
    words = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if argument in names:
            words.append(names[argument])
        elif equals and value in names:
            words.append(f"{option}={names[value]}")
        else:
            words.append(argument)
    return shlex.join(["kgrec", *words])


def own_suite(schema: str, data: Path) -> Suite:
    """A suite made up for somebody's own tables: leave-last-out, every row that applies.

    Args:
        schema: A shipped name, or a TOML file.
        data: Their folder.
    """
    from kgrec.benchmark.suite import Suite

    name = data.resolve().name
    return Suite(
        name=name,
        title=name,
        about=f"Tables of {data}, read by {schema}.",
        folder=".",
        schema=str(schema),
        protocol=_OWN_PROTOCOL,
        headline=("hit_rate@10", "nDCG@10"),
        trials=30,
    )


def _table(result: dict[str, Any]) -> list[str]:
    headline = result["suite"]["headline"]
    width = max(len(row["name"]) for row in result["rows"]) + 2 if result["rows"] else 2
    lines = [" " * width + "".join(f"{name:>26}" for name in headline)]
    for row in result["rows"]:
        cells = [_cell(row["metrics"].get(name)) for name in headline]
        ended = "" if row["status"] == "done" else f"  {row['status']}: {row['reason']}"
        lines.append(f"{row['name']:<{width}}" + "".join(f"{cell:>26}" for cell in cells) + ended)
    for found in result["suite"]["published"]:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in found["metrics"].items())
        lines.append(f"{found['model']}: {figures} (published, not rerun)")
    return [*lines, *(f"warning: {warning}" for warning in result["warnings"])]


def _cell(figures: dict[str, Any] | None) -> str:
    if figures is None or figures["mean"] is None:
        return "-"
    if figures["low"] is None:
        return f"{figures['mean']:.4f}"
    return f"{figures['mean']:.4f} [{figures['low']:.4f}, {figures['high']:.4f}]"
