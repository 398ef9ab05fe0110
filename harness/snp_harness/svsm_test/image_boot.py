# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted for an in-SVSM test: an IGVM file with tests, or the reference SVSM with its own."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from msgspec import structs

from snp_harness.conformance.image import open_guest
from snp_harness.errors import UsageError
from snp_harness.firmware_run import BootOptions, PreparedBoot, prepare
from snp_harness.platforms.guest_launch import guest_launch
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import DEFAULT_CONFIG, load_config
from snp_harness.svsm.launch_digest import digest_of
from snp_harness.svsm.sections import SvsmKind
from snp_harness.svsm_test.image_run import RUN_TIMEOUT_S, TEST_DEVICES

#: The platform whose hypervisor serves COM4 and isa-debug-exit to VMPL0.
PLATFORM = "emulated"


def prepare_image(
    file: Path | None, config: SvsmConfig | str | None = None, platform: str = PLATFORM, **options: Unpack[BootOptions]
) -> PreparedBoot:
    """Prepare the boot of a test image, as `prepare` does. file: None for the reference SVSM's own tests.

    Raises UsageError for a platform or a file that cannot be run.
    """
    if platform != PLATFORM:
        raise UsageError(f"test images run on the platform {PLATFORM} only, not {platform}", "leave out --platform")
    # Nothing runs below the SVSM; a guest's image is a part of every launch of the reference SVSM.
    options["until"] = "exit"
    options["timeout_s"] = RUN_TIMEOUT_S
    options["extra_args"] = TEST_DEVICES
    if file is not None:
        return prepare(None, platform, config, igvm=file, **options)
    svsm = config if isinstance(config, SvsmConfig) else load_config(config or DEFAULT_CONFIG)
    section = structs.replace(svsm.svsm, kind=SvsmKind.REFERENCE, self_test=True)
    return prepare(open_guest(), platform, structs.replace(svsm, svsm=section), **options)


def launch_digest(boot: PreparedBoot) -> bytes:
    """Return the launch digest of what is booted. Raises IgvmError."""
    spec = boot.spec
    launch = guest_launch(spec, spec.image, memory_map(spec.memory, spec.svsm.memory.phys_bits), kernel=False)
    return b"" if launch is None else digest_of(launch)
