# SPDX-License-Identifier: GPL-2.0-or-later
"""`SnpBoot`: what the fixture `snp_boot` returns. A call boots a firmware on the platform of the test."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pytest

from snp_harness.defaults import DEFAULT_TIMEOUT_S, DEFAULT_UNTIL
from snp_harness.testing.abilities import lacking, require_platform, session_host
from snp_harness.testing.evidence import EVIDENCE, Evidence, file_name
from snp_harness.testing.markers import platform_of
from snp_harness.testing.options import path_option
from snp_harness.testing.options import qemu as default_qemu

if TYPE_CHECKING:
    from snp_harness.apic.access import Phase
    from snp_harness.firmware_run import BootOptions, PreparedBoot, RunResult
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.vm.rundir import RunDirectory

#: Longest name of a test's directory, in characters.
NAME_MAX = 120


class SnpBoot:
    """The fixture `snp_boot`: a call boots a firmware. request: that of the test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(
        self,
        firmware: str | Path | None = None,
        *,
        platform: str | None = None,
        until: Phase | str = DEFAULT_UNTIL,
        config: SvsmConfig | str | Path | None = None,
        vcpus: int = 1,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        qemu: Path | None = None,
        extra_args: tuple[str, ...] = (),
        icount: bool = False,
        as_if_active: bool | None = None,
        igvm: Path | None = None,
        memory_mib: int | None = None,
    ) -> RunResult:
        """Boot a firmware and return verdict, timeline and run directory.

        firmware: a path or a name such as "debian:trixie", None for the fixture snp_firmware. platform: None for that
        of the test's marker, else of the options; another one than the marker's is an error. qemu: None for that of the
        options. until: the phase after which the run ends, or another goal of --until, by its name. config: an
        SvsmConfig, or the path or name of one, None for the default one. timeout_s: seconds of wall time. extra_args:
        for QEMU. icount: count instructions, so that a boot repeats exactly. as_if_active: judge a run without
        Alternate Injection as if it were active; None: only on platforms that have none. igvm: an IGVM file to launch
        in place of the reference SVSM; firmware and config are by default those of the file. memory_mib: RAM of the
        guest; None: the platform's.
        Skips the test if the platform cannot run here. Raises HarnessError if the run cannot start or ends early; what
        was seen until then is in the run directory, which the test's report names.
        """
        __tracebackhide__ = True
        from snp_harness.errors import HarnessError, LackingHostError

        try:
            boot = prepared(
                self._request,
                firmware,
                platform,
                config,
                igvm,
                memory_mib=memory_mib,
                vcpus=vcpus,
                until=until,
                timeout_s=timeout_s,
                qemu=qemu,
                extra_args=extra_args,
                icount=icount,
                as_if_active=as_if_active,
            )
            directory, evidence = new_evidence(self._request, boot)
            with directory:
                result = evidence.result = boot.run(directory)
        except HarnessError as error:
            # A test's report shows its own line and the message, not the frames of the harness.
            raise error.with_traceback(None) from None
        if isinstance(result.error, LackingHostError):
            lacking(self._request.config, boot.platform.name, str(result.error))
        if result.error is not None:
            raise result.error.with_traceback(None) from None
        return result


def prepared(
    request: pytest.FixtureRequest,
    firmware: str | Path | None,
    platform: str | None,
    config: SvsmConfig | str | Path | None,
    igvm: Path | None,
    **options: Unpack[BootOptions],
) -> PreparedBoot:
    """Prepare a boot of a test, with the options of pytest for what is None; skip the test if it cannot run here."""
    from snp_harness.firmware_run import prepare

    name = platform_of(request, platform)
    require_platform(request.config, name)
    options["qemu"] = options.get("qemu") or default_qemu(request.config)
    options["host"] = session_host(request.config)
    return prepare(
        request.getfixturevalue("snp_firmware") if firmware is None and igvm is None else firmware,
        name,
        request.getfixturevalue("snp_config") if config is None else config,
        igvm=igvm,
        **options,
    )


def new_evidence(request: pytest.FixtureRequest, boot: PreparedBoot) -> tuple[RunDirectory, Evidence]:
    """Return a new run directory for a boot of the test, and the evidence that its report names if it fails."""
    from snp_harness.vm.rundir import RunDirectory

    platform = boot.platform.name
    directory = RunDirectory.create(None, platform, run_parent(request))
    evidence = Evidence(directory.path, platform, sha256(boot.spec.image.data).hexdigest())
    request.node.stash.setdefault(EVIDENCE, []).append(evidence)
    return directory, evidence


def run_parent(request: pytest.FixtureRequest) -> Path:
    """Return the parent of a test's run directories: its own directory under --snp-out, else one in its tmp_path."""
    given = path_option(request.config, "out")
    if given is None:
        temporary: Path = request.getfixturevalue("tmp_path")
        return temporary / "runs"
    return given / file_name(request.node.nodeid)[-NAME_MAX:]
