"""Progress bars on what takes long, quiet when the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(work: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yields from `work` and draws rate and time left on stderr when a person is watching.

    Args:
        work: What to go through.
        what: The few words in front of the bar.
        total: Number of steps when `work` has no length.
        unit: What one step is.
    """
    if not sys.stderr.isatty():
        yield from work
        return
    from tqdm import tqdm

    yield from tqdm(work, desc=what, total=total, unit=unit, leave=False)


def say(message: str) -> None:
    """One line to the person, on stderr, so that stdout stays for results."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
