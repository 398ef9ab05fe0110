# SPDX-License-Identifier: GPL-2.0-or-later
"""The published JSON schemas, for the tests of what writes JSON: a field that a schema lacks is an error there."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from snp_harness.data import schema_file


def load_schema(name: str) -> dict[str, Any]:
    """A schema as it is published."""
    schema: dict[str, Any] = json.loads(schema_file(name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return schema


def check(name: str, data: Any) -> None:
    """Fails if the data is not as the schema says, or has a field that it lacks."""
    Draft202012Validator(_closed(load_schema(name))).validate(data)


def _closed(schema: Any) -> Any:
    """The schema without the freedom to add fields, which readers have to allow for."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed
