"""Options as frozen dataclasses: built from TOML, overridden by `stage.field=value`, written back.

Knows nothing of any stage: what an option is called and may hold is read from the dataclass.
Fields may be bool, int, float, str, Path, Literal, tuples and mappings of these, any of them
or None, or another such dataclass. TOML has no null, so the word "none" stands for None.
"""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kgrec.errors import ConfigError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

_NAMES: dict[object, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
    type(None): ("none", "none"),
}


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from plain values; what is not named keeps its default.

    Args:
        cls: The dataclass.
        table: Plain values by field name, tables for fields that are dataclasses themselves.
        where: What the values came from, to begin error messages with: `my.toml`.

    Raises:
        ConfigError: A key is unknown, a value has the wrong type or is out of range.
    """
    hints = get_type_hints(cls)
    values = {
        key: _convert(table[key], _hint(hints, key, where), f"{where} {key}") for key in table
    }
    return _checked(lambda: cls(**values), where)


def override(settings: T, assignments: Sequence[str]) -> T:
    """A copy with some fields replaced; all are applied before any range is checked.

    Args:
        settings: A dataclass, with one level of dataclasses inside or more.
        assignments: Each `field=value` or `stage.field=value`; the value as in TOML, with quotes
            left off where they are not needed, lists as `1,2,3`.

    Raises:
        ConfigError: An assignment has no `=`, names no field, or gives a value that cannot be.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *stages, name = path.strip().split(".")
        if not equals:
            raise ConfigError(f"'{assignment}' sets nothing; write stage.field=value")
        cls: type[Any] = type(settings)
        table = changes
        for stage in stages:
            inner = _hint(get_type_hints(cls), stage, path)
            if not is_dataclass(inner) or not isinstance(inner, type):
                raise ConfigError(f"{path}: {stage} has no options inside it")
            cls, table = inner, table.setdefault(stage, {})
        hint = _hint(get_type_hints(cls), name, path)
        table[name] = _convert(_parse(text.strip(), hint), hint, path)
    return _replaced(settings, changes, ", ".join(assignments))


def to_plain(value: Any) -> Any:
    """The same values as JSON has them: tables, lists, text, numbers, booleans, None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def to_toml(settings: DataclassInstance) -> str:
    """TOML that `build` reads back to an equal value: scalars first, then one table a stage."""
    plain = {field.name: getattr(settings, field.name) for field in fields(settings)}
    scalars = [name for name, value in plain.items() if not is_dataclass(value)]
    lines = [f"{name} = {_toml(to_plain(plain[name]))}" for name in scalars]
    for name, stage in plain.items():
        if name not in scalars:
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in to_plain(stage).items()]
    return "\n".join(lines) + "\n"


def _replaced(settings: T, changes: Mapping[str, Any], where: str) -> T:
    values = {
        name: _replaced(getattr(settings, name), change, where)
        if is_dataclass(getattr(settings, name)) and isinstance(change, dict)
        else change
        for name, change in changes.items()
    }
    return _checked(lambda: replace(settings, **values), where)


def _checked(make: Callable[[], T], where: str) -> T:
    """Says where an out-of-range value came from; the dataclass itself cannot know."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _hint(hints: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in hints:
        raise ConfigError(f"{where}: unknown option '{key}'{nearest(key, hints)}")
    return hints[key]


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """The value as the field holds it.

    Raises:
        ConfigError: It cannot be one; the message says what was expected.
    """
    members = _members(hint)
    if type(None) in members and value in (None, "none"):
        return None
    for member in members:
        if isinstance(member, type) and is_dataclass(member) and isinstance(value, Mapping):
            return build(member, value, where)
        found, result = _plain(value, member, where)
        if found:
            return result
    choices = [str(c) for m in members if get_origin(m) is Literal for c in get_args(m)]
    if isinstance(value, str) and choices:
        raise ConfigError(f"{where} is '{value}'{nearest(value, choices)}")
    expected = " or ".join(_name(member) for member in members)
    raise ConfigError(f"{where} is {_toml(to_plain(value))}; expected {expected}")


def _plain(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    """Whether the value can be what one member of a union asks for, and the value converted."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == c and type(value) is type(c) for c in inner), value
    if origin is tuple and isinstance(value, list | tuple):
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) != len(value):
            return False, None
        return True, tuple(_convert(v, h, where) for v, h in zip(value, inner, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return True, {str(k): _convert(v, inner[1], f"{where}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if hint is Path and isinstance(value, str):
        return True, Path(value)
    # bool is a kind of int in Python and never in an option.
    return isinstance(hint, type) and type(value) is hint, value


def _parse(text: str, hint: Any) -> Any:
    """The value that a person meant by `text` for a field of this type."""
    members = _members(hint)
    if type(None) in members and text.lower() == "none":
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    lists = [m for m in members if get_origin(m) is tuple]
    if lists and not isinstance(value, list):
        each = get_args(lists[0])[0]
        return [_parse(part.strip(), each) for part in text.split(",") if part.strip()]
    if bool in members and text.lower() in ("true", "false"):
        return text.lower() == "true"
    wants_text = any(m in (str, Path) or get_origin(m) is Literal for m in members)
    if wants_text and not isinstance(value, str) and not _fits(value, members):
        return text
    return value


def _fits(value: Any, members: tuple[Any, ...]) -> bool:
    return any(_plain(value, member, "")[0] for member in members)


def _name(hint: Any, plural: bool = False) -> str:
    """What a type is called in a message to a person."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _NAMES:
        return _NAMES[hint][plural]
    if origin is Literal:
        return "one of " + ", ".join(f"'{choice}'" for choice in inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return f"a list of {_name(inner[0], plural=True)}"
    if origin is tuple:
        return f"a list of {len(inner)} {_name(inner[0], plural=True)}"
    return "a table"


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
