# SPDX-License-Identifier: GPL-2.0-or-later
"""Each public method of a guest is used, on every platform, here and over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from snp_harness.apic.access import Phase
from snp_harness.errors import UnsupportedError
from snp_harness.guest.accesses import Accesses
from snp_harness.guest.console import GuestConsole
from snp_harness.guest.guest import Guest
from snp_harness.guest.guest_errors import GuestTimeoutError
from snp_harness.guest.memory import GuestMemory
from snp_harness.guest.qmp import GuestQmp
from snp_harness.vm.qemu_errors import ConsoleTimeoutError, GuestCrashError

_PARTS = {"console": GuestConsole, "accesses": Accesses, "qmp": GuestQmp, "memory": GuestMemory}
#: What the parts of a guest use of each other.
_INNER = {"attach", "read", "closed", "raise_if_crashed", "unread", "go_back"}


class Watched:
    """A guest, or a part of it, that notes which of its names are used."""

    def __init__(self, target: object, used: set[str], prefix: str = "") -> None:
        self._target, self._used, self._prefix = target, used, prefix

    def __getattr__(self, name: str) -> object:
        self._used.add(self._prefix + name)
        value = getattr(self._target, name)
        return Watched(value, self._used, f"{name}.") if name in _PARTS else value

    def __len__(self) -> int:
        return len(cast(Accesses, self._target))

    def __iter__(self) -> Iterator[object]:
        return iter(cast(Accesses, self._target))


def names() -> set[str]:
    """The public methods and properties of a guest and of its parts, without those of a sequence."""
    found = {name for name in vars(Guest) if not name.startswith("_")}
    for part, kind in _PARTS.items():
        inner = _INNER if kind is GuestConsole else set()
        found |= {f"{part}.{name}" for name in vars(kind) if not name.startswith("_") and name not in inner}
    return found


def use_all(guest: Guest, refused: str = "") -> None:
    """Use a guest that prints "ready", and then what is typed. It has ended then. refused: why it cannot be saved."""
    used = {"memory.close", "memory.peek", "accesses.wait_phase"}
    _use(cast(Guest, Watched(guest, used)), refused)
    unused = names() - used
    assert unused == ({"restore"} if refused else set())


def _use(guest: Guest, refused: str) -> None:
    before = guest.directory
    guest.reset()
    assert guest.directory != before
    guest.wait_for("ready")
    console = guest.console
    console.send("one two")
    assert console.expect(["nothing like it", "o(n)e"]) == 1
    console.sendline(" three")
    console.expect_exact("three")
    assert console.text.startswith("ready\r\none two three")
    assert console.last_line.endswith("three")
    with console.temporary_timeout(0.1), pytest.raises(ConsoleTimeoutError):
        console.expect("never")
    with console.bad_patterns("oops"):
        console.send("oops")
        with pytest.raises(GuestCrashError):
            guest.wait_for("never")

    guest.pause()
    assert (guest.running, guest.paused) == (True, True)
    assert guest.qmp.wait_event("STOP").name == "STOP"
    assert guest.qmp.query("query-uuid", dict[str, str]).keys() == {"UUID"}
    assert guest.qmp.execute("query-status") != {}
    assert "IP" in guest.qmp.monitor("info registers")
    guest.memory.write(0x2000, b"then")
    assert guest.memory.read(0x2000, 4) == b"then"
    assert guest.registers()["cs_base"] == 0xF0000
    guest.resume()

    assert guest.wait_for(lambda one: one.running)
    assert guest.accesses.count == len(guest.accesses.of()) == len(guest.accesses)
    assert guest.accesses.phase <= Phase.SEC
    assert len(guest.accesses.phases) == len(guest.timeline().phases)
    assert guest.accesses.events("nothing") == []
    for wait in (lambda: guest.accesses.wait(register="EOI", timeout_s=0.1), lambda: guest.wait_for(Phase.OS, 0.1)):
        with pytest.raises(GuestTimeoutError):
            wait()
    with pytest.raises(GuestTimeoutError):
        guest.accesses.wait_event("nothing", 0.1)
    assert guest.verdict().results

    if guest.platform == "emulated":
        assert guest.svsm_console.text == ""
    else:
        with pytest.raises(UnsupportedError, match=f"{guest.platform} cannot show the SVSM's console"):
            _ = guest.svsm_console
    _go_back(guest, refused)
    guest.qmp.execute("system_reset")
    ended = guest.wait_ended()
    assert "reset or powered off" in ended.timeline.gaps[0]
    assert guest.power_off() is ended


def _go_back(guest: Guest, refused: str) -> None:
    if refused:
        with pytest.raises(UnsupportedError, match=f"the platform {guest.platform} cannot take a snapshot: {refused}"):
            guest.snapshot()
        assert not guest.paused
    else:
        snapshot = guest.snapshot()
        guest.memory.write(0x2000, b"late")
        guest.restore(snapshot)
        assert guest.memory.read(0x2000, 4) == b"then"
    guest.console.send("!")
    guest.console.expect("!")
