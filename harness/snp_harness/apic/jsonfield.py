# SPDX-License-Identifier: GPL-2.0-or-later
"""Strict readers for fields of untrusted JSON objects: types, ranges and lengths are checked, errors name the field."""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Mapping
from typing import Any, TypeVar

#: Greatest number of accesses, and of any other counted thing.
COUNT_MAX = (1 << 32) - 1
#: Greatest vCPU number (x2APIC IDs are 32 bits wide).
VCPU_MAX = (1 << 32) - 1
#: Greatest time, nanoseconds: 104 days, which JSON readers that use doubles still keep exactly.
TIME_MAX = (1 << 53) - 1
#: Greatest value of a 64-bit number.
U64_MAX = (1 << 64) - 1
#: Longest string, characters.
TEXT_MAX = 4096

_HEX = re.compile(r"0x[0-9a-f]{1,16}\Z")

_E = TypeVar("_E", bound=enum.Enum)
_M = TypeVar("_M", bound=enum.IntEnum)


class FieldError(ValueError):
    """A field is missing, unknown, of the wrong type, out of range or too long."""


def shown(value: object) -> str:
    """Return `value` as shown in a one-line message: escaped and shortened."""
    text = ascii(value) if not isinstance(value, int) or abs(value) <= U64_MAX else "a number beyond 64 bits"
    return text if len(text) <= 60 else text[:57] + "..."


def require_keys(data: Mapping[str, Any], keys: frozenset[str]) -> None:
    """Raise FieldError unless `data` has exactly `keys`."""
    missing = sorted(keys - data.keys())
    if missing:
        raise FieldError(f'"{missing[0]}" is missing')
    unknown = sorted(data.keys() - keys)
    if unknown:
        raise FieldError(f"unknown field {shown(unknown[0])}")


def integer(data: Mapping[str, Any], key: str, maximum: int) -> int:
    """Return an integer of 0..maximum."""
    value = data[key]
    if type(value) is not int or not 0 <= value <= maximum:
        raise FieldError(f'"{key}" is {shown(value)}, not an integer of 0..{maximum}')
    return value


def optional_integer(data: Mapping[str, Any], key: str, maximum: int) -> int | None:
    """Return an integer of 0..maximum, or None for null."""
    return None if data[key] is None else integer(data, key, maximum)


def boolean(data: Mapping[str, Any], key: str) -> bool:
    """Return true or false."""
    value = data[key]
    if type(value) is not bool:
        raise FieldError(f'"{key}" is {shown(value)}, not true or false')
    return value


def text(data: Mapping[str, Any], key: str, maximum: int = TEXT_MAX) -> str:
    """Return a string of at most `maximum` characters, without surrogates (they cannot be written out again)."""
    value = data[key]
    if not isinstance(value, str):
        raise FieldError(f'"{key}" is {shown(value)}, not a string')
    if len(value) > maximum:
        raise FieldError(f'"{key}" is longer than {maximum} characters')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise FieldError(f'"{key}" has a lone surrogate')
    return value


def optional_text(data: Mapping[str, Any], key: str) -> str | None:
    """Return a string, or None for null."""
    return None if data[key] is None else text(data, key)


def to_hex(value: int | None) -> str | None:
    """Return a number as "0x1ff", None as None."""
    return None if value is None else f"0x{value:x}"


def optional_hex(data: Mapping[str, Any], key: str) -> int | None:
    """Return the number of a string such as "0x1ff" (at most 64 bits), or None for null."""
    value = data[key]
    if value is None:
        return None
    if not isinstance(value, str) or not _HEX.match(value):
        raise FieldError(f'"{key}" is {shown(value)}, not a number such as "0x1ff"')
    return int(value, 16)


def choice(data: Mapping[str, Any], key: str, kind: type[_E]) -> _E:
    """Return the member of `kind` whose value is the field's string."""
    value = data[key]
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return kind(value)
    raise FieldError(f'"{key}" is {shown(value)}, not one of {", ".join(str(member.value) for member in kind)}')


def member(data: Mapping[str, Any], key: str, kind: type[_M]) -> _M:
    """Return the member of `kind` whose name is the field's string."""
    value = data[key]
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    raise FieldError(f'"{key}" is {shown(value)}, not one of {", ".join(kind.__members__)}')
