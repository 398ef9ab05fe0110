# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a QEMU, requested over QMP from one that runs nothing."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from snp_harness.vm.qemu_binary import QemuBinary

_TIMEOUT_S = 300


class QemuSchema:
    """The answers of one QEMU."""

    def __init__(self, binary: QemuBinary) -> None:
        self.binary = binary
        self._entries = {entry["name"]: entry for entry in self._ask("query-qmp-schema")}

    def object_properties(self, kind: str) -> set[str] | None:
        """Properties that -object KIND accepts; None if this QEMU has no such object."""
        command = self._entries["object-add"]
        argument = self._entries[command["arg-type"]]
        variant = next((one for one in argument["variants"] if one["case"] == kind), None)
        if variant is None:
            tag = next(member for member in argument["members"] if member["name"] == "qom-type")
            kinds = self._entries[tag["type"]]
            names = {member["name"] for member in kinds.get("members", [])} | set(kinds.get("values", []))
            return {"id"} if kind in names else None
        members = {member["name"] for member in self._entries[variant["type"]]["members"]}
        return members | {member["name"] for member in argument["members"]}

    @cached_property
    def machine_properties(self) -> set[str]:
        """Properties of the machine q35."""
        machine = next(one for one in self._ask("query-machines") if one.get("alias") == "q35")
        return self.properties(f"{machine['name']}-machine")

    def properties(self, kind: str) -> set[str]:
        """Properties of a type of QOM."""
        return {entry["name"] for entry in self._ask("qom-list-properties", typename=kind)}

    @cached_property
    def cpu_models(self) -> set[str]:
        """Names that -cpu accepts."""
        return {entry["name"] for entry in self._ask("query-cpu-definitions")}

    def _ask(self, command: str, **arguments: Any) -> list[dict[str, Any]]:
        argv = [*self.binary.prefix, "-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
        requests = [{"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
            assert qemu.stdin is not None
            assert qemu.stdout is not None
            guard = threading.Timer(_TIMEOUT_S, qemu.kill)
            guard.start()
            try:
                qemu.stdin.write("\n".join(map(json.dumps, requests)))
                qemu.stdin.flush()
                # QMP's quit is not sent with the requests: QEMU would drop answers that the pipe has not accepted yet.
                for line in qemu.stdout:
                    answer = json.loads(line)
                    assert "error" not in answer, answer
                    if isinstance(answer.get("return"), list):
                        found: list[dict[str, Any]] = answer["return"]
                        return found
            finally:
                guard.cancel()
                qemu.kill()
        raise AssertionError(f"QEMU did not answer {command} in {_TIMEOUT_S} s, or ended before")


def options(arguments: Sequence[str], name: str) -> list[tuple[str, dict[str, str]]]:
    """Each `-name VALUE,key=value,...` among the arguments."""
    found = []
    for option, text in itertools.pairwise(arguments):
        if option == f"-{name}":
            first, *rest = text.split(",")
            found.append((first, dict(part.split("=", 1) for part in rest)))
    return found
