# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness shell`: a guest with its console on the terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import add_boot_options, add_guest_options
from snp_harness.cli.linux import add_linux_options, find_launch, linux_boot
from snp_harness.cli.resources import create_run_directory, find_host, find_qemu, notify
from snp_harness.defaults import PROGRAM
from snp_harness.errors import EXIT_HOLDS

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add `shell` to the command line."""
    parser = commands.add_parser(
        "shell", usage=f"{PROGRAM} shell [options] [-- EXTRA QEMU ARGUMENTS]", allow_abbrev=False
    )
    add_guest_options(parser)
    add_linux_options(parser)
    add_boot_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Boot, connect the console to the terminal until Ctrl-] or the guest's end. Raises HarnessError."""
    from snp_harness.firmware_run import prepare
    from snp_harness.guest.guest import Guest, hold
    from snp_harness.guest.linux import LinuxGuest
    from snp_harness.guest.relay import relay

    host, launch = find_host(options), find_launch(options)
    boot = prepare(
        options.firmware,
        options.platform,
        notify=notify,
        **linux_boot(options, launch, host),
        igvm=options.igvm,
        vcpus=options.vcpus,
        timeout_s=options.timeout,
        svsm_symbols=tuple(options.svsm_symbols),
        qemu=find_qemu(options),
        host=host,
    )
    directory = create_run_directory(options)
    guest = Guest(boot, lambda: directory) if launch is None else LinuxGuest(boot, lambda: directory, launch)
    with hold(guest):
        notify(f"the run directory is {directory.path}")
        if isinstance(guest, LinuxGuest):
            notify(f"root needs no password here; by SSH: {guest.ssh_command()}")
        notify("Ctrl-] ends the guest")
        relay(guest)
    return EXIT_HOLDS
