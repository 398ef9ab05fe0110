# SPDX-License-Identifier: GPL-2.0-or-later
"""Build hook: compiles the emulated SNP host and the reference SVSM, and puts the two images into the wheel.

They are freestanding x86-64 programs that run inside QEMU, so the wheel fits every machine.
SNP_HARNESS_NO_EMULATOR=1 leaves them out, where only the Python side is wanted; `snp-harness doctor` then says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "harness/emulator"
IMAGES = ("snp-host.bin", "snp-svsm.bin")
TOOLS = {"make": "make", "gcc": "gcc", "ld": "binutils", "objcopy": "binutils"}
BUILD_TIMEOUT_S = 300


class EmulatorBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or os.environ.get("SNP_HARNESS_NO_EMULATOR") == "1":
            return  # an sdist carries the sources
        source = Path(self.root, SOURCE)
        missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
        if missing:
            raise RuntimeError(f"building {SOURCE} needs {', '.join(missing)}: apt-get install {' '.join(missing)}")
        try:
            built = subprocess.run(
                ["make", "-s", f"-j{os.cpu_count() or 1}", "-C", str(source)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=BUILD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"make -C {SOURCE} did not end within {BUILD_TIMEOUT_S} s") from error
        if built.returncode != 0:
            tail = "\n".join(built.stderr.splitlines()[-20:])
            raise RuntimeError(f"make -C {SOURCE} ended with status {built.returncode}:\n{tail}")
        for image in IMAGES:
            path = source / "build" / image
            if not path.is_file():
                raise RuntimeError(f"make -C {SOURCE} did not make build/{image}")
            build_data["force_include"][str(path)] = f"{SOURCE}/build/{image}"
