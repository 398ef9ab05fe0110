# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM inside QEMU TCG: runs the platform `kvm` on a nested host, which needs neither KVM nor root here."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus
from snp_harness.defaults import DEFAULT_SUITE
from snp_harness.errors import UsageError
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms.common import qemu_check
from snp_harness.platforms.platform import RunSpec
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.running import Running

#: Names the Debian suite of the nested host's image.
SUITE_VARIABLE = "SNP_HARNESS_NESTED_SUITE"
#: Options of QEMU whose file is one of this machine: the nested host has no files of the user's.
_FILE_OPTIONS = frozenset({"-kernel", "-initrd"})
ELSEWHERE = ("the nested host runs on this machine only", "leave out --host, or use --platform kvm there")


class NestedPlatform:
    """Runs the firmware as a plain guest of a real KVM, in a machine that QEMU TCG emulates."""

    name = "nested"
    observed_on = "KVM inside QEMU TCG, no SEV, not hardware"
    configurable = False
    alternate_injection = False

    def probe(self, host: Host = LOCAL, qemu: Path | None = None) -> list[Check]:
        """Check for a QEMU, and for an image that exists or can be made."""
        if not host.here:
            return [Check("host", CheckStatus.MISSING, *ELSEWHERE)]
        return [qemu_check(host, qemu), _image_check()]

    def start(self, spec: RunSpec, directory: RunDirectory, stack: ExitStack) -> Running:
        """Start the guest inside the nested host, as Platform.start describes. spec.qemu: the outer QEMU."""
        from snp_harness.hosts.nested import NestedHost
        from snp_harness.platforms.kvm import start_on
        from snp_harness.tools.kvm_host.host_image import images
        from snp_harness.tools.kvm_host.outer import Outer

        if not spec.host.here:
            raise UsageError(*ELSEWHERE)
        binary = QemuBinary.find(spec.qemu)
        outer = Outer(images().image(suite(), _say), binary, spec.memory >> 20)
        host = NestedHost(outer, directory, _say)
        stack.callback(host.close)
        arguments, inputs = shipped(spec.extra_args)
        inner = replace(spec, qemu=None, host=host, extra_args=arguments)
        guest = start_on(host, self.name, inner, directory, stack, inputs)
        guest.facts = host.facts
        return guest


def shipped(arguments: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Path]]:
    """Return QEMU's arguments with tokens for the files that -kernel and -initrd name, and these files by name."""
    given, inputs = list(arguments), {}
    for at, (option, value) in enumerate(itertools.pairwise(arguments), start=1):
        if option in _FILE_OPTIONS and Path(value).is_file():
            name = option[1:]
            inputs[name] = Path(value)
            given[at] = token(FILE, name)
    return tuple(given), inputs


def suite() -> str:
    """Return the Debian suite of the image: SNP_HARNESS_NESTED_SUITE, else trixie."""
    return os.environ.get(SUITE_VARIABLE) or DEFAULT_SUITE


def _image_check() -> Check:
    from snp_harness.tools.kvm_host.host_image import explain_missing, images

    name = "nested host's image"
    missing = explain_missing(suite())
    if missing is not None:
        return Check(name, CheckStatus.MISSING, missing.message, missing.hint)
    found = images().cached(suite())
    if found is None:
        return Check(name, CheckStatus.WARN, "not made yet", "the first run makes it, or: snp-harness fetch nested")
    return Check(name, CheckStatus.OK, f"Linux {found.manifest.kernel}, {found.directory}")


def _say(text: str) -> None:
    """Report on stderr what takes long and happens once: the download of packages, a first boot."""
    print(f"snp-harness: {text}", file=sys.stderr, flush=True)


PLATFORM = NestedPlatform()
