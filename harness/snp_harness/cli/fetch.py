# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness fetch`: download Debian's firmware, QEMU, the nested KVM host or a Linux guest into the cache."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import did_you_mean
from snp_harness.cli.resources import notify
from snp_harness.defaults import DEBIAN, DEFAULT_SUITE
from snp_harness.errors import EXIT_HOLDS

if TYPE_CHECKING:
    from pathlib import Path

    from snp_harness.cli.arguments import Commands

KINDS = ("firmware", "qemu", "nested", "linux")


def add_parser(commands: Commands) -> None:
    """Add `fetch` to the command line."""
    parser = commands.add_parser("fetch", allow_abbrev=False)
    parser.add_argument(
        "kind",
        metavar="|".join(KINDS),
        type=_kind,
        nargs="?",
        default=KINDS[0],
        help="what is fetched; default: %(default)s",
    )
    parser.add_argument("specs", metavar="SPEC", nargs="*", help=f"trixie, sid/amdsev, ...; default: {DEFAULT_SUITE}")


def _kind(text: str) -> str:
    """Parse what is fetched: one of KINDS, or the suite of a firmware. The archive is not asked about another word."""
    from snp_harness.debian.firmware_names import SUITES

    if text in KINDS or "/" in text or text.removeprefix(DEBIAN) in SUITES:
        return text
    known = (*KINDS, *SUITES)
    raise argparse.ArgumentTypeError(f"{text!a} is not one of {', '.join(known)}{did_you_mean(text, known)}")


def execute(options: argparse.Namespace) -> int:
    """Fetch what is named, print each path and return the exit status. Raises UsageError, FetchError."""
    kind, specs = options.kind, options.specs
    if kind not in KINDS:
        # `fetch trixie`: a firmware.
        kind, specs = KINDS[0], [kind, *specs]
    for spec in specs or (DEFAULT_SUITE,):
        print(_fetch(kind, spec))
    return EXIT_HOLDS


def _fetch(kind: str, spec: str) -> Path:
    if kind == "firmware":
        from snp_harness.debian.firmware import fetch_firmware

        return fetch_firmware(spec, notify)
    if kind == "qemu":
        from snp_harness.debian.qemu_bundle import fetch_qemu

        return fetch_qemu(spec.removeprefix(DEBIAN), notify).directory
    if kind == "linux":
        from snp_harness.tools.linux_guest import image

        return image.images().fetch(spec.removeprefix(DEBIAN), notify).directory
    from snp_harness.tools.kvm_host import host_image

    return host_image.images().fetch(spec.removeprefix(DEBIAN), notify).directory
