# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture `linux_guest`: Linux guests that run while the test does."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pytest

from snp_harness.defaults import DEFAULT_SUITE
from snp_harness.errors import HarnessError
from snp_harness.guest.linux import CONFIG, LinuxGuest, linux_options
from snp_harness.testing.boot import prepared
from snp_harness.testing.guest import held
from snp_harness.testing.markers import platform_of
from snp_harness.testing.options import required
from snp_harness.tools.linux_guest.launch import find_launch

if TYPE_CHECKING:
    from snp_harness.firmware_run import GuestOptions
    from snp_harness.svsm.config import SvsmConfig


class SnpLinux:
    """The fixture `linux_guest`: a call boots Linux and returns the guest alive. request: that of the test.

    Its guests are ended, judged and kept at the end of the test, whatever that does.
    """

    def __init__(self, request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> None:
        self._request = request
        self._stack = stack

    def __call__(
        self,
        suite: str = DEFAULT_SUITE,
        *,
        kernel: Path | None = None,
        initrd: Path | None = None,
        firmware: str | Path | None = None,
        platform: str | None = None,
        config: SvsmConfig | str | Path | None = None,
        igvm: Path | None = None,
        **options: Unpack[GuestOptions],
    ) -> LinuxGuest:
        """Boot Linux, and return as soon as QEMU runs.

        suite, kernel, initrd: as for `snp_harness.boot_linux`. The other arguments are those of `snp_guest`; without a
        configuration, Alternate Injection is off. Skips the test if the platform cannot run here, or if there is no
        image and none can be made. Raises HarnessError if the guest cannot be started.
        """
        try:
            launch = find_launch(suite, kernel, initrd)
        except HarnessError as error:
            if required(self._request.config):
                raise
            pytest.skip(f"no image of the Linux guest: {error}")
        if config is None and igvm is None:
            config = self._request.getfixturevalue("snp_config") or CONFIG
        options = linux_options(launch, platform_of(self._request, platform), options)
        boot = prepared(self._request, firmware, platform, config, igvm, **options)
        return held(self._request, self._stack, boot, lambda made, directory: LinuxGuest(made, directory, launch))
