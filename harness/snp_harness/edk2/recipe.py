# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of a build: edk2's platforms, the defines, and the edits of a source that they need."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from snp_harness.edk2.archive import points_out
from snp_harness.edk2.git import Store, TreeEditor
from snp_harness.edk2.source_errors import SourceError
from snp_harness.errors import FirmwareError
from snp_harness.nearest import known_names

#: Part of the keys of images and workspaces. Raised when the edits of a source change, or the arguments of `build`, or
#: the handling of a workspace.
RECIPE_VERSION = 3
TARGETS = ("DEBUG", "RELEASE", "NOOPT")
DEFAULT_PLATFORM = "OvmfX64"
DEFAULT_TARGET = "DEBUG"
DEFAULT_TOOLCHAIN = "GCC"
#: Each with edk2's names for its settings: the first that a source has counts.
TOOLCHAINS = {DEFAULT_TOOLCHAIN: ("GCC5", "GCC"), "CLANGDWARF": ("CLANGDWARF",)}
#: Disables features that the harness does not need and that double the time of a build.
DEFAULT_DEFINES = {
    "NETWORK_ENABLE": "FALSE",
    "CC_MEASUREMENT_ENABLE": "FALSE",
    "TPM2_ENABLE": "FALSE",
    "SECURE_BOOT_ENABLE": "FALSE",
}
#: A value can reach makefiles and shell commands, so it has no special character of theirs.
_DEFINE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,100})=(?P<value>[A-Za-z0-9_.,:/+=@%-]{0,200})")
#: Lines with which some versions of edk2 do not build without the network: VirtioNet in an .fdf (until b197541f29,
#: 2025-11-21), the network's PCDs in a .dsc (7f17a15564, 2024-02-25, to 14d7ae94bc, 2024-09-12, and f9408b7cc1,
#: 2025-06-11, to b197541f29).
_NETWORK_LINE = re.compile(rb"[ \t]*(?:INF[ \t]+OvmfPkg/VirtioNetDxe/VirtioNet\.inf|gEfiNetworkPkgTokenSpaceGuid\.)")
_NETWORK_INCLUDES = ("NetworkPkg/NetworkPcds.dsc.inc", "NetworkPkg/NetworkDynamicPcds.dsc.inc")
_TOOLS_DEF = "BaseTools/Conf/tools_def.template"


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform of edk2.

    dsc: its description. output: directory of `build`. modules: estimate of their number. architectures: edk2's names,
    SEC's first. image: the name of the combined image.
    """

    name: str
    dsc: str
    fdf: str
    output: str
    modules: int
    architectures: tuple[str, ...] = ("X64",)
    image: str = "OVMF.fd"


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("OvmfX64", "OvmfPkg/OvmfPkgX64.dsc", "OvmfPkg/OvmfPkgX64.fdf", "Build/OvmfX64", 269),
        Platform("AmdSevX64", "OvmfPkg/AmdSev/AmdSevX64.dsc", "OvmfPkg/AmdSev/AmdSevX64.fdf", "Build/AmdSev", 210),
        Platform(
            *("IntelTdxX64", "OvmfPkg/IntelTdx/IntelTdxX64.dsc", "OvmfPkg/IntelTdx/IntelTdxX64.fdf"),
            *("Build/IntelTdx", 200),
        ),
        Platform(
            *("OvmfIa32X64", "OvmfPkg/OvmfPkgIa32X64.dsc", "OvmfPkg/OvmfPkgIa32X64.fdf", "Build/Ovmf3264", 280),
            architectures=("IA32", "X64"),
        ),
        Platform(
            *("CloudHvX64", "OvmfPkg/CloudHv/CloudHvX64.dsc", "OvmfPkg/CloudHv/CloudHvX64.fdf"),
            *("Build/CloudHvX64", 220),
            image="CLOUDHV.fd",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a source is built. defines: name and value, sorted, those of DEFAULT_DEFINES included."""

    platform: Platform = PLATFORMS[DEFAULT_PLATFORM]
    target: str = DEFAULT_TARGET
    defines: tuple[tuple[str, str], ...] = field(default_factory=lambda: tuple(sorted(DEFAULT_DEFINES.items())))
    toolchain: str = DEFAULT_TOOLCHAIN

    @classmethod
    def of(
        cls,
        platform: str = DEFAULT_PLATFORM,
        target: str = DEFAULT_TARGET,
        defines: tuple[str, ...] = (),
        toolchain: str = DEFAULT_TOOLCHAIN,
    ) -> Recipe:
        """Make a recipe from the user's names, and defines as K=V. Raises FirmwareError."""
        if platform not in PLATFORMS:
            raise FirmwareError(f"{platform!a} is not a platform that can be built", known_names(platform, PLATFORMS))
        if target not in TARGETS:
            raise FirmwareError(f"{target!a} is not a target", known_names(target, TARGETS))
        if toolchain not in TOOLCHAINS:
            raise FirmwareError(f"{toolchain!a} is not a tool chain", known_names(toolchain, TOOLCHAINS))
        merged = dict(DEFAULT_DEFINES)
        for text in defines:
            match = _DEFINE.fullmatch(text)
            if match is None:
                raise FirmwareError(
                    f"{text!a} is not a define",
                    "use NAME=VALUE, such as TPM2_ENABLE=TRUE; a value has letters, digits and _.,:/+=@%-",
                )
            merged[match["name"]] = match["value"]
        return cls(PLATFORMS[platform], target, tuple(sorted(merged.items())), toolchain)

    @property
    def key(self) -> str:
        """The recipe as text, for a hash. The default tool chain is not named in it."""
        other = () if self.toolchain == DEFAULT_TOOLCHAIN else (self.toolchain,)
        return repr((RECIPE_VERSION, self.platform.name, self.target, self.defines, *other))


def tool_chain(store: Store, tree: str, toolchain: str = DEFAULT_TOOLCHAIN) -> str:
    """Return a source's name for a tool chain: GCC is GCC5 in older ones. Raises SourceError if it has none."""
    text = store.read(tree, _TOOLS_DEF)
    if text is None:
        raise SourceError(f"the source has no {_TOOLS_DEF}", "name the top directory of edk2")
    names = TOOLCHAINS[toolchain]
    for name in names:
        if f"*_{name}_".encode() in text:
            return name
    raise SourceError(f"{_TOOLS_DEF} has none of {', '.join(names)}", "this edk2 cannot be built so")


def prepare(editor: TreeEditor, tree: str, platform: Platform) -> None:
    """Make the edits that a source needs to be built here; raises SourceError if it lacks the platform.

    What belongs to the network depends on NETWORK_ENABLE then. Links that lead out of the source are removed: a user's
    Build or Conf may be one, and the build must not write there.
    """
    for name in (platform.dsc, platform.fdf):
        if editor.store.read(tree, name) is None:
            raise SourceError(f"the source has no {name}", "name the top directory of edk2, or another --platform")
    for name in (platform.dsc, platform.fdf, *_NETWORK_INCLUDES):
        text = editor.store.read(tree, name)
        if text is not None:
            edited = guard_network(text)
            if edited != text:
                editor.write(name, edited)
    editor.leave_out(path for path, target in editor.links().items() if points_out(path, target))


def guard_network(text: bytes) -> bytes:
    """Return a .dsc or .fdf in which the lines of the network depend on NETWORK_ENABLE; unchanged if they all do."""
    lines = text.splitlines(keepends=True)
    conditions: list[bytes] = []
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] in ([b"!if"], [b"!ifdef"], [b"!ifndef"]):
            conditions.append(line)
        elif words[:1] == [b"!endif"]:
            del conditions[-1:]
        elif _NETWORK_LINE.match(line) and not any(b"NETWORK_ENABLE" in condition for condition in conditions):
            end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
            lines[number] = b"!if $(NETWORK_ENABLE) == TRUE" + end + line + b"!endif" + end
    return b"".join(lines)
