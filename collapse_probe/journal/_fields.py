"""The fields of a record: written without those that have their default, checked when they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Any, get_type_hints

Number = float
"""A number; in JSON its name where it is not finite."""


class FieldError(ValueError):
    """A field of a record has a wrong type or is missing; the message names it."""


def encode_number(value: float) -> float | str:
    """Return a number as JSON can carry it: itself, or its name where it is not finite.

    >>> encode_number(0.1), encode_number(float("nan")), encode_number(float("-inf"))
    (0.1, 'NaN', '-Infinity')
    """
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def decode_number(value: Any) -> float:
    """Return the float that :func:`encode_number` wrote.

    Raises:
        FieldError: neither a number nor the name of one.

    >>> decode_number("-Infinity")
    -inf
    """
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise FieldError("holds a number beyond all floats") from None
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    raise FieldError(f"is {_short(value)}, where a number is needed")


def fields_of(record: Any) -> dict[str, Any]:
    """Return a record's fields as JSON-serialisable values, without those that have their default."""
    found = {}
    for name, default in _defaults(type(record)):
        value = getattr(record, name)
        if default is MISSING or value != default:
            found[name] = _plain(value)
    return found


def record_from(kind: type, content: Mapping[str, Any]) -> Any:
    """Return the record of a kind that a line's content makes; fields that the kind does not know are left out.

    Raises:
        FieldError: a field is missing, or of a wrong type.
    """
    values = {}
    for name, check, required in _checks(kind):
        if name in content:
            try:
                values[name] = check(content[name])
            except FieldError as error:
                raise FieldError(f"{name} {error}") from None
        elif required:
            raise FieldError(f"{name} is missing")
    return kind(**values)


def _plain(value: Any) -> Any:
    if type(value) is float:
        return encode_number(value)
    if type(value) is str or value is None:
        return value
    if isinstance(value, Mapping):
        return {
            str(key): entry if type(entry) is float and math.isfinite(entry) else _plain(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _whole(value: Any) -> int:
    if type(value) is not int or not -(2**62) < value < 2**62:
        raise FieldError(f"is {_short(value)}, where a whole number is needed")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FieldError(f"is {_short(value)}, where a text is needed")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FieldError(f"is {_short(value)}, where true or false is needed")
    return value


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise FieldError(f"is {_short(value)}, where numbers by name are needed")
    return {name: entry if type(entry) is float else decode_number(entry) for name, entry in value.items()}


def _summaries(value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict):
        raise FieldError(f"is {_short(value)}, where numbers by name are needed")
    return {name: _numbers(entry) for name, entry in value.items()}


def _list_of(check: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise FieldError(f"is {_short(value)}, where a list is needed")
        return [check(entry) for entry in value]

    return checked


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


_BY_TYPE: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: decode_number,
    str: _text,
    bool: _truth,
    Mapping[str, float]: _numbers,
    Mapping[str, Mapping[str, float]]: _summaries,
    list[float]: _list_of(decode_number),
    list[str]: _list_of(_text),
}
_BY_TYPE |= {hint | None: _or_none(check) for hint, check in list(_BY_TYPE.items())}


@cache
def _checks(kind: type) -> list[tuple[str, Callable[[Any], Any], bool]]:
    hints = get_type_hints(kind)
    return [
        (one.name, _BY_TYPE[hints[one.name]], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
    ]


@cache
def _defaults(kind: type) -> list[tuple[str, Any]]:
    """Return the fields of a kind with the values that are not written."""
    return [(one.name, _default(one)) for one in fields(kind)]


def _default(field: Field[Any]) -> Any:
    if field.name == "schema":
        return MISSING
    return field.default if field.default_factory is MISSING else field.default_factory()
