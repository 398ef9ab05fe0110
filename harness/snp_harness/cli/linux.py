# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that name a Linux guest, and a run that ends when it was logged in to. Loads nothing else early."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypedDict

from snp_harness.cli.arguments import path_argument
from snp_harness.cli.resources import notify
from snp_harness.defaults import DEBIAN

if TYPE_CHECKING:
    from snp_harness.firmware_run import PreparedBoot, RunResult
    from snp_harness.hosts.host import Host
    from snp_harness.tools.linux_guest.launch import LinuxLaunch
    from snp_harness.vm.rundir import RunDirectory

    # At run time, to make it takes longer than to parse the command line.
    class LinuxOptions(TypedDict):
        """What a Linux guest decides of a boot."""

        config: str | None
        extra_args: tuple[str, ...]
        memory_mib: int | None


_LINUX = "linux"


def guest_argument(text: str) -> str:
    """Parse linux or linux:SUITE; returns the suite, "" for the default."""
    kind, _, suite = text.partition(":")
    if kind != _LINUX or text.endswith(":"):
        raise argparse.ArgumentTypeError(f"{text!a} is not a guest: linux, or linux:SUITE")
    return suite.removeprefix(DEBIAN)


def add_linux_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--guest",
        metavar="G",
        type=guest_argument,
        help="have the firmware boot Linux: linux or linux:SUITE, Debian's; without --svsm-config, Alternate Injection"
        " is off: no Linux supports it",
    )
    parser.add_argument("--kernel", metavar="F", type=path_argument, help="the Linux guest's kernel, a bzImage")
    parser.add_argument("--initrd", metavar="F", type=path_argument, help="the Linux guest's initramfs")


def find_launch(options: argparse.Namespace) -> LinuxLaunch | None:
    """Return what the named Linux guest boots, None if none is named. Raises HarnessError."""
    if options.guest is None and options.kernel is None and options.initrd is None:
        return None
    from snp_harness.tools.linux_guest.launch import find_launch

    return find_launch(options.guest or None, options.kernel, options.initrd, notify)


def linux_boot(options: argparse.Namespace, launch: LinuxLaunch | None, host: Host) -> LinuxOptions:
    """Return configuration, memory and QEMU's arguments of a boot, with those that a Linux guest needs."""
    config, extra, memory = options.svsm_config, options.extra, options.memory
    if launch is None:
        return {"config": config, "extra_args": extra, "memory_mib": memory}
    from snp_harness.guest.linux import CONFIG, linux_options

    made = linux_options(launch, options.platform, {"extra_args": extra, "memory_mib": memory, "host": host})
    return {
        "config": CONFIG if config is None and options.igvm is None else config,
        "extra_args": made["extra_args"],
        "memory_mib": made["memory_mib"],
    }


def run_until_login(boot: PreparedBoot, launch: LinuxLaunch, directory: RunDirectory) -> RunResult:
    """Boot until a command was run in the guest by SSH. A guest that is not reached is the result's error."""
    import dataclasses

    from snp_harness.errors import HarnessError
    from snp_harness.guest.guest import hold
    from snp_harness.guest.linux import LinuxGuest

    with hold(LinuxGuest(boot, lambda: directory, launch)) as guest:
        try:
            guest.run("true")
        except HarnessError as error:
            return dataclasses.replace(guest.power_off(), error=error)
        return guest.power_off()
