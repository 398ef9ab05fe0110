# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of an agent's answers, and their check: they come from another machine, which may run any program.

What it says is bounded and printable, so that it may be shown. snp_harness/agent describes the operations.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from snp_harness.hosts.host_errors import HostError
from snp_harness.vm.qemu_errors import printable

#: Limits of an answer: characters of a text, entries of a list or table, levels of nesting.
TEXT_MAX = 4096
ENTRIES_MAX = 4096
_DEPTH_MAX = 8
_Kind = TypeVar("_Kind")
#: msgspec does not support bounds outside signed 64-bit integers.
_Address = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
_Process = Annotated[int, msgspec.Meta(gt=0, lt=1 << 32)]


class _Answer(msgspec.Struct, frozen=True):
    """Base of all answers: unknown fields, which a newer agent may add, are ignored."""


class Found(_Answer, frozen=True):
    """Answer to `find`. stdout, stderr: the first line of each."""

    path: str
    prefix: list[str]
    status: int
    stdout: str
    stderr: str


class Missing(_Answer, frozen=True):
    """Answer to `has`."""

    missing: list[str]


class Started(_Answer, frozen=True):
    """Answer to `start`."""

    pid: _Process
    argv: list[str]


class Image(_Answer, frozen=True, array_like=True):
    """An entry of the answer to `images`."""

    base: _Address
    size: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    entry: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class KvmAnswer(_Answer, frozen=True):
    """Answer to `kvm`. error: "" if KVM runs a guest."""

    error: str
    hint: str
    modules: list[str]
    accelerated: str


class Tracing(_Answer, frozen=True):
    """Answer to `tracing`. error: "" if tracing is available."""

    root: str
    error: str
    hint: str
    events: list[str]
    missing: list[str]


class Traced(_Answer, frozen=True):
    """Answer to `trace`."""

    missing: list[str]
    unfiltered: list[str]
    clock: str


class Untraced(_Answer, frozen=True):
    """Answer to `untrace`."""

    lost: Annotated[int, msgspec.Meta(ge=0)]
    left: str


def checked(host: str, operation: str, value: Any, kind: type[_Kind]) -> _Kind:
    """Return an operation's answer as a `kind`. Raises HostError, which names `host`, if it is not one."""
    try:
        return msgspec.convert(shown(value), kind)
    except (msgspec.ValidationError, ValueError) as error:
        why = printable(str(error), 200)
        raise HostError(
            f"{host}: the answer to {operation} is invalid: {why}", "check which program runs as the agent there"
        ) from None


def shown(value: Any, depth: int = 0) -> Any:
    """Return a JSON value with its texts cut and made printable. Raises ValueError if it has too many entries."""
    if isinstance(value, str):
        return printable(value, TEXT_MAX)
    if isinstance(value, dict | list):
        if len(value) > ENTRIES_MAX or depth >= _DEPTH_MAX:
            raise ValueError("it is too large")
        if isinstance(value, list):
            return [shown(entry, depth + 1) for entry in value]
        return {printable(str(key), TEXT_MAX): shown(entry, depth + 1) for key, entry in value.items()}
    return value
