"""What can go wrong, as a small tree.

    KgrecError                  everything kgrec raises on purpose; exit code 1
    ├── DataError               tables: a missing file, column or value, a damaged archive
    │   └── SchemaError         a schema: an unknown key, a column it names twice; exit code 2
    ├── ConfigError             an option: an unknown key, a value out of range; exit code 2
    ├── ShapeError              arrays whose shapes do not fit together
    ├── UnknownIdError          a user or an item that the model or the shop does not know
    ├── TooLargeError           a command needs more memory or disk than can be had
    ├── ArtefactError           a model folder that is missing, altered, truncated or too new
    └── MissingExtraError       a package of an optional extra is not installed

A message says what, where and how to mend it, in the caller's own ids and names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from copyreg import __newobj__  # type: ignore[attr-defined]
from typing import Any


class KgrecError(Exception):
    """Anything kgrec refuses to do; the message is meant for the person at the keyboard."""

    exit_code = 1


class DataError(KgrecError):
    """A table cannot be read or lacks what the schema says it has."""


class SchemaError(DataError):
    """A schema says something that cannot be meant."""

    exit_code = 2


class ConfigError(KgrecError):
    """An option is unknown or out of range."""

    exit_code = 2


class ShapeError(KgrecError):
    """Arrays whose shapes do not fit together."""


class UnknownIdError(KgrecError):
    """A user or item id that is not in the vocabulary."""


class TooLargeError(KgrecError):
    """A command needs more memory or disk than can be had; the message says what would fit."""


class ArtefactError(KgrecError):
    """A model folder that cannot be trusted: missing, altered, truncated, too new or in use."""


class MissingExtraError(KgrecError):
    """A package that an optional extra brings is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: pip install 'kgrec[{extra}]'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # By its message, which is all that is left: a worker's error reaches whoever asked.
        return __newobj__, (type(self), *self.args)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt key: `; did you mean 'brand'?`, or the list of what is known.

    Args:
        word: What was written.
        known: What could have been meant.
    """
    choices = sorted(known)
    match = difflib.get_close_matches(word, choices, n=1)
    if match:
        return f"; did you mean '{match[0]}'?"
    return f"; known are: {', '.join(choices)}"
