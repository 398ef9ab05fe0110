# SPDX-License-Identifier: GPL-2.0-or-later
"""What an agent answers, checked: it comes from another machine, which may run anything.

What it says is bounded and printable, so that it may be shown. snp_harness/agent describes the operations.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from snp_harness.hosts.host_errors import HostError
from snp_harness.vm.qemu_errors import printable

#: Characters of a text, entries of a list or table, depth of what is in another.
TEXT_MAX = 4096
ENTRIES_MAX = 4096
_DEPTH_MAX = 8
_Kind = TypeVar("_Kind")
#: The library takes no bound beyond 64 bits with a sign.
_Address = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
_Process = Annotated[int, msgspec.Meta(gt=0, lt=1 << 32)]


class _Answer(msgspec.Struct, frozen=True):
    """Fields that a newer agent adds are left out."""


class Found(_Answer, frozen=True):
    """Operation `find`. stdout, stderr: their first lines."""

    path: str
    prefix: list[str]
    status: int
    stdout: str
    stderr: str


class Missing(_Answer, frozen=True):
    """Operation `has`."""

    missing: list[str]


class Started(_Answer, frozen=True):
    """Operation `start`."""

    pid: _Process
    argv: list[str]


class Image(_Answer, frozen=True, array_like=True):
    """An entry of operation `images`."""

    base: _Address
    size: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    entry: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class KvmAnswer(_Answer, frozen=True):
    """Operation `kvm`. error: "" where KVM runs a guest."""

    error: str
    hint: str
    modules: list[str]
    accelerated: str


class Tracing(_Answer, frozen=True):
    """Operation `tracing`. error: "" where tracing can be had."""

    root: str
    error: str
    hint: str
    events: list[str]
    missing: list[str]


class Traced(_Answer, frozen=True):
    """Operation `trace`."""

    missing: list[str]
    unfiltered: list[str]
    clock: str


class Untraced(_Answer, frozen=True):
    """Operation `untrace`."""

    lost: Annotated[int, msgspec.Meta(ge=0)]
    left: str


def checked(host: str, operation: str, value: Any, kind: type[_Kind]) -> _Kind:
    """An operation's answer as what it should be. Raises HostError."""
    try:
        return msgspec.convert(shown(value), kind)
    except (msgspec.ValidationError, ValueError) as error:
        why = printable(str(error), 200)
        raise HostError(
            f"{host}: the answer to {operation} makes no sense: {why}", "see what runs as the agent there"
        ) from None


def shown(value: Any, depth: int = 0) -> Any:
    """The value with texts that are bounded, printable and one line. Raises ValueError if it is too large."""
    if isinstance(value, str):
        return printable(value, TEXT_MAX)
    if isinstance(value, dict | list):
        if len(value) > ENTRIES_MAX or depth >= _DEPTH_MAX:
            raise ValueError("there is too much of it")
        if isinstance(value, list):
            return [shown(entry, depth + 1) for entry in value]
        return {printable(str(key), TEXT_MAX): shown(entry, depth + 1) for key, entry in value.items()}
    return value
