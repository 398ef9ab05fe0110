# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a configuration model: values, default and meaning of each; for messages and docs/svsm-configs.md."""

from __future__ import annotations

import enum
import json
import typing
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a configuration file. allowed: the values it takes, for people. default: as TOML writes it."""

    section: str
    name: str
    allowed: str
    default: str
    description: str


def keys(model: type[BaseModel]) -> tuple[Key, ...]:
    """Return every key of a model whose fields are sections, in the order of the model."""
    found = []
    for section, field in model.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        for name, entry in field.annotation.model_fields.items():
            found.append(Key(section, name, _allowed(entry), _toml(entry.default), entry.description or ""))
    return tuple(found)


def table(model: type[BaseModel]) -> str:
    """Return the keys as a Markdown table."""
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{key.section}.{key.name}` | {key.allowed} | `{key.default}` | {key.description} |" for key in keys(model)
    ]
    return "\n".join(lines) + "\n"


def _allowed(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["allowed"])
    annotation = field.annotation
    if annotation is bool:
        return "true or false"
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(_toml(value) for value in typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(_toml(member.value) for member in annotation)
    bounds = {name: getattr(entry, name) for entry in field.metadata for name in ("ge", "le") if hasattr(entry, name)}
    return f"an integer of {bounds['ge']} to {bounds['le']}"


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's form is the same for what the models hold."""
    return json.dumps(value.value if isinstance(value, enum.Enum) else value)
