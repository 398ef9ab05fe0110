# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture `snp_guest`: guests that run while the test does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

from snp_harness.errors import LackingHostError
from snp_harness.guest.guest import Guest, hold
from snp_harness.testing.abilities import lacking
from snp_harness.testing.boot import new_evidence, prepared

if TYPE_CHECKING:
    import pytest

    from snp_harness.firmware_run import GuestOptions, PreparedBoot
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.testing.evidence import Evidence
    from snp_harness.vm.rundir import RunDirectory

_Guest = TypeVar("_Guest", bound=Guest)


class SnpGuest:
    """The fixture `snp_guest`: a call boots a firmware and returns the guest alive. request: that of the test.

    Its guests are ended, judged and kept at the end of the test, whatever that does.
    """

    def __init__(self, request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> None:
        self._request = request
        self._stack = stack

    def __call__(
        self,
        firmware: str | Path | None = None,
        *,
        platform: str | None = None,
        config: SvsmConfig | str | Path | None = None,
        igvm: Path | None = None,
        **options: Unpack[GuestOptions],
    ) -> Guest:
        """Boot a firmware, and return as soon as QEMU runs.

        The arguments are those of `snp_boot`, without `until`; timeout_s is the default of all waits. Skips the test if
        the platform cannot run here. Raises HarnessError if the guest cannot be started; the end of the test raises it
        if something broke the run and was not raised before.
        """
        boot = prepared(self._request, firmware, platform, config, igvm, **options)
        return held(self._request, self._stack, boot, Guest)


def held(
    request: pytest.FixtureRequest,
    stack: contextlib.ExitStack,
    boot: PreparedBoot,
    make: Callable[[PreparedBoot, Callable[[], RunDirectory]], _Guest],
) -> _Guest:
    """Start a guest of a test, which ends with `stack`. make: of a prepared boot, and what makes run directories."""
    kept: list[Evidence] = []
    guests: list[_Guest] = []

    def directory() -> RunDirectory:
        made, evidence = new_evidence(request, boot)
        kept.append(evidence)
        return made

    def note_results() -> None:
        results = {result.directory: result for guest in guests for result in guest.boots}
        for evidence in kept:
            evidence.result = results.get(evidence.directory)

    stack.callback(note_results)
    try:
        guests.append(stack.enter_context(hold(make(boot, directory))))
    except LackingHostError as error:
        lacking(request.config, boot.platform.name, str(error))
    if request.config.getoption("snp_keep"):
        from snp_harness.testing.keep import keep

        stack.callback(keep, request, guests[0])
    return guests[0]
