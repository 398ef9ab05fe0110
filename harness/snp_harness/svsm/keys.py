# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a configuration model: values, default and meaning of each; for messages and docs/svsm-configs.md."""

from __future__ import annotations

import enum
import json
import textwrap
import typing
from typing import Any

from msgspec import Meta, Struct
from msgspec.structs import fields

#: Entry of Meta.extra: the valid values of a key in words, if its type does not determine them.
ALLOWED = "allowed"
#: Entry of Meta.extra: the number is shown in hexadecimal, as its specification writes it.
HEXADECIMAL = "hexadecimal"


class Key(Struct, frozen=True):
    """One key of a configuration file.

    type: of its value, for msgspec. allowed: its valid values, in words. default: as TOML writes it.
    """

    section: str
    name: str
    type: Any
    allowed: str
    default: str
    description: str


def keys(model: type[Struct]) -> tuple[Key, ...]:
    """Return every key of a model whose fields are sections, in the model's order."""
    return tuple(
        _key(section.name, entry.name, entry.type, entry.default)
        for section in fields(model)
        for entry in fields(section.type)
    )


def listing(model: type[Struct]) -> str:
    """Return the keys as a Markdown list, an item each, in lines of at most 100 columns."""
    items = (
        f"`{key.section}.{key.name}`: {key.allowed}; default: `{key.default}`. {key.description}" for key in keys(model)
    )
    return "".join(
        textwrap.fill(
            item, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )
        + "\n"
        for item in items
    )


def _key(section: str, name: str, annotated: Any, default: object) -> Key:
    """The key of a field whose type is Annotated[type, Meta]."""
    kind, meta = typing.get_args(annotated)
    return Key(section, name, annotated, _allowed(kind, meta), _default(default, meta), meta.description)


def _allowed(kind: Any, meta: Meta) -> str:
    extra = meta.extra or {}
    if ALLOWED in extra:
        return str(extra[ALLOWED])
    if HEXADECIMAL in extra:
        return f"an integer of 0x{meta.ge:X} to 0x{meta.le:X}"
    if kind is bool:
        return "true or false"
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(_toml(value) for value in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " or ".join(_toml(member.value) for member in kind)
    return f"an integer of {meta.ge} to {meta.le}"


def _default(value: object, meta: Meta) -> str:
    return f"0x{value:X}" if isinstance(value, int) and HEXADECIMAL in (meta.extra or {}) else _toml(value)


def _toml(value: object) -> str:
    """A value as TOML writes it, which for the values of the models is the same as in JSON."""
    return json.dumps(value.value if isinstance(value, enum.Enum) else value)
