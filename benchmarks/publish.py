"""Runs suites, keeps their results under benchmarks/results and makes the README's tables of them.

    python benchmarks/publish.py --data DIR [SUITE ...] [-- OPTIONS of kgrec benchmark]

Without SUITE: every suite that ships and whose files are in DIR, one after another. Outputs go to
benchmark-out/SUITE; a run that was stopped goes on there. `make benchmark` does all the set-up.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from kgrec.benchmark.files import find_data
from kgrec.benchmark.suite import load_suite, suite_names
from kgrec.errors import DataError

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
OUT = ROOT / "benchmark-out"
STOPPED = (130, 143)
"""Exit codes of a run that somebody ended."""


def present(data: Path) -> list[str]:
    """The suites whose files are there; says which are left out."""
    found = []
    for name in suite_names():
        try:
            find_data(load_suite(name), data)
        except DataError as error:
            print(f"left out: {str(error).splitlines()[0]}", file=sys.stderr)
        else:
            found.append(name)
    return found


def run(suite: str, data: Path, options: list[str]) -> int:
    """Runs one suite and keeps its result; the exit code."""
    name = load_suite(suite).name
    command = [sys.executable, "-m", "kgrec", "benchmark", suite, "--data", str(data)]
    done = subprocess.run([*command, "--out", str(OUT / name), *options], check=False)
    if done.returncode == 0:
        RESULTS.mkdir(exist_ok=True)
        shutil.copyfile(OUT / name / "result.json", RESULTS / f"suite-{name}.json")
    return done.returncode


def main() -> None:
    """Runs what is asked for; exits 1 when a suite could not be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    given = sys.argv[1:]
    own = given[: given.index("--")] if "--" in given else given
    options = given[len(own) + 1 :]
    args = parser.parse_args(own)
    suites = args.suites or present(args.data)
    if not suites:
        sys.exit(f"{args.data} has the files of no suite: see kgrec benchmark --list")
    failed = []
    for suite in suites:
        code = run(suite, args.data, options)
        if code in STOPPED:
            sys.exit(code)
        if code:
            failed.append(suite)
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "tables.py")], check=True)
    if failed:
        sys.exit(f"could not run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
