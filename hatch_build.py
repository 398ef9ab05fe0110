# SPDX-License-Identifier: GPL-2.0-or-later
"""Build hook: compiles what runs inside QEMU for the wheel, and records the commit that is built.

The emulated hypervisor, the reference SVSM and the guests are freestanding x86-64 programs, so the wheel fits every
machine. SNP_HARNESS_NO_EMULATOR=1 leaves them out, where only Python is wanted; `snp-harness doctor` then reports it.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Directory with a Makefile, and the images that it makes in build/. snp_harness/data.py finds them in the wheel.
SOURCES = (
    ("harness/emulator", ("snp-host.bin", "snp-svsm.bin", "snp-in-place.so")),
    ("guests/svsm_apic_conformance", ("svsm-apic-conformance.fd",)),
    ("guests/kvm_host", ("kvm-host-init",)),
)
VERSION_MODULE = "harness/snp_harness/version.py"
TOOLS = {"make": "make", "gcc": "gcc", "ld": "binutils", "objcopy": "binutils"}
BUILD_TIMEOUT_S = 300


class EmulatorBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"
    _generated: tempfile.TemporaryDirectory[str]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation runs the checkout, whose commit changes.
        self._generated = tempfile.TemporaryDirectory()
        if version != "editable":
            self._record_build(build_data)
            if self.target_name == "wheel":
                self._write_manual(build_data)
        if self.target_name != "wheel" or os.environ.get("SNP_HARNESS_NO_EMULATOR") == "1":
            return  # an sdist carries the sources
        missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
        if missing:
            names = " ".join(missing)
            raise RuntimeError(f"building {SOURCES[0][0]} needs {', '.join(missing)}: apt-get install {names}")
        for source, images in SOURCES:
            directory = Path(self.root, source)
            _make(source, directory)
            for image in images:
                path = directory / "build" / image
                if not path.is_file():
                    raise RuntimeError(f"make -C {source} did not make build/{image}")
                build_data["force_include"][str(path)] = f"snp_harness/data/{source}/build/{image}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._generated.cleanup()

    def _record_build(self, build_data: dict[str, Any]) -> None:
        """Put version and commit into the package; the tree of an sdist has them already."""
        module = runpy.run_path(str(Path(self.root, VERSION_MODULE)))
        recorded = Path(VERSION_MODULE).with_name(module["BUILD_FILE"])
        if Path(self.root, recorded).exists():
            return
        path = Path(self._generated.name, recorded.name)
        path.write_text(module["build"]().to_json(), encoding="utf-8")
        target = recorded if self.target_name == "sdist" else recorded.relative_to("harness")
        build_data["force_include"][str(path)] = str(target)

    def _write_manual(self, build_data: dict[str, Any]) -> None:
        """Make the manual page of the parsers, which need msgspec."""
        path = Path(self._generated.name, "snp-harness.1")
        with path.open("wb") as file:
            subprocess.run(
                [sys.executable, "-m", "snp_harness.cli.manual"],
                # In the environment that pip makes for a build, packages are where its PYTHONPATH leads.
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(self.root, "harness")), *sys.path])},
                stdout=file,
                timeout=BUILD_TIMEOUT_S,
                check=True,
            )
        build_data["shared_data"][str(path)] = f"share/man/man1/{path.name}"


def _make(source: str, directory: Path) -> None:
    try:
        built = subprocess.run(
            ["make", "-s", f"-j{os.cpu_count() or 1}", "-C", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"make -C {source} did not end within {BUILD_TIMEOUT_S} s") from error
    if built.returncode != 0:
        tail = "\n".join(built.stderr.splitlines()[-20:])
        raise RuntimeError(f"make -C {source} ended with status {built.returncode}:\n{tail}")
