# SPDX-License-Identifier: GPL-2.0-or-later
"""`--snp-keep`: the guest of a failed test goes on, and who has started pytest stands in it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from snp_harness.guest.relay import relay

if TYPE_CHECKING:
    from snp_harness.guest.guest import Guest

#: Whether a phase of the test has failed so far.
FAILED = pytest.StashKey[bool]()


def note(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note that a phase of a test has failed."""
    skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
    if call.excinfo is not None and not skipped:
        item.stash[FAILED] = True


def keep(request: pytest.FixtureRequest, guest: Guest) -> None:
    """If the test has failed, and its guest runs, connect the console until Ctrl-], or the guest's end."""
    if not request.node.stash.get(FAILED, False) or not guest.running:
        return
    from snp_harness.guest.linux import LinuxGuest

    capture = request.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend(in_=True)
    try:
        print(f"\n{request.node.nodeid} has failed, and its guest runs: {guest.directory}", file=sys.stderr)
        if isinstance(guest, LinuxGuest):
            print(f"log in: {guest.ssh_command()}", file=sys.stderr)
        print("its console follows; Ctrl-] ends the guest", file=sys.stderr, flush=True)
        # The user ends the guest, not the session.
        with contextlib.suppress(KeyboardInterrupt):
            relay(guest)
    finally:
        if capture is not None:
            capture.resume()
