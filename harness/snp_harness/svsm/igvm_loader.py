# SPDX-License-Identifier: GPL-2.0-or-later
"""The SEV-SNP launch of an IGVM file, as QEMU carries it out.

Source: QEMU backends/igvm.c (qigvm_process_file and the handlers of its directives) and target/i386/sev.c
(cgs_set_guest_state). What QEMU refuses is refused, in one line: what is launched here is launched there.
"""

from __future__ import annotations

from msgspec import Struct

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import (
    PARAMETERS,
    DataType,
    GuestPolicy,
    Header,
    HeaderType,
    IgvmError,
    IgvmFile,
    MemoryRange,
    PageData,
    PageFlags,
    Parameter,
    ParameterArea,
    ParameterInsert,
    SnpIdBlock,
    VpContext,
)
from snp_harness.svsm.igvm_order import in_qemu_order
from snp_harness.svsm.igvm_parameters import MachineFacts, parameter
from snp_harness.svsm.launch import DEFAULT_POLICY, KVM_VMSA_GPA, PAGE, IdBlock, Launch, Pages, PageType

#: Bound on pages: a 2 MiB page counts as 512.
PAGES_MAX = 1 << 20
#: Parameters that QEMU's loader writes. A device tree is not one of them: its area stays empty.
_WRITTEN = frozenset(
    {
        HeaderType.VP_COUNT_PARAMETER,
        HeaderType.MADT,
        HeaderType.MEMORY_MAP,
        HeaderType.ENVIRONMENT_INFO_PARAMETER,
        HeaderType.DEVICE_TREE,
    }
)
#: Headers that do not concern a loader which places the file where it says.
_IGNORED = frozenset({HeaderType.SUPPORTED_PLATFORM, HeaderType.ERROR_RANGE, HeaderType.VBS_MEASUREMENT})
_TYPES: dict[int, PageType] = {
    DataType.SECRETS: PageType.SECRETS,
    DataType.CPUID_DATA: PageType.CPUID,
    DataType.CPUID_XF: PageType.CPUID,
}
#: Bytes of a public key (56860, table "Format of an ECDSA public key").
_KEY_SIZE = 0x404
_BUILD_HINT = "build it for QEMU's loader, as COCONUT's igvmbuilder does with --hypervisor qemu"


class _Area(Struct):
    """A parameter area that is filled, until it is inserted."""

    data: bytearray
    inserted: bool = False


class _Loader:
    """QEMU's loader at work on one file."""

    def __init__(self, file: IgvmFile, mask: int, machine: MachineFacts) -> None:
        self._file = file
        self._mask = mask
        self._machine = machine
        self._areas: dict[int, _Area] = {}
        self._pages: list[Pages] = []
        self._count = 0
        self._given: set[int] = set()
        self._vmsas: dict[int, bytes] = {}
        self._memory: list[tuple[int, int]] = []
        self._policy = DEFAULT_POLICY
        self._block: SnpIdBlock | None = None

    def load(self) -> Launch:
        for header in self._file.headers:
            if header.kind is None:
                raise self._refusal(f"has a header of unknown type {header.type:X} at {header.at:#x}")
        for step in in_qemu_order(self._file, self._mask):
            if isinstance(step, list):
                self._run(step)
            else:
                self._take(step)
        if not self._vmsas:
            raise self._refusal("has no VP context for SEV-SNP: nothing shows where its SVSM starts")
        if 0 not in self._vmsas:
            raise self._refusal("has no VP context for the first vCPU")
        running = {vp: page for vp, page in self._vmsas.items() if vp < self._machine.vcpus}
        return Launch(
            pages=tuple(self._pages),
            vmsas=tuple(sorted(running.items())),
            memory=tuple(self._memory),
            policy=self._policy,
            id_block=None if self._block is None else _id_block(self._block, self._policy),
        )

    def _refusal(self, what: str, hint: str = _BUILD_HINT) -> IgvmError:
        return IgvmError(f"{self._file.name} {what}", hint)

    def _take(self, header: Header) -> None:
        if header.kind in _IGNORED:
            return
        match header:
            case ParameterArea():
                self._new_area(header)
            case Parameter():
                self._parameter(header)
            case ParameterInsert():
                self._insert(header)
            case VpContext():
                self._context(header)
            case MemoryRange():
                self._range(header)
            case SnpIdBlock():
                if self._block is not None:
                    raise self._refusal("has several ID blocks for SEV-SNP")
                self._block = header
            case GuestPolicy():
                self._policy = header.policy
            case _:
                raise self._refusal(f"has a directive that QEMU's loader does not know: {header.name}")

    def _run(self, run: list[PageData]) -> None:
        for page in run:
            if page.data_type not in (*_TYPES, DataType.NORMAL):
                raise self._refusal(f"has page data of unknown type {page.data_type} at {page.gpa:X}")
            if page.flags & PageFlags.LARGE and page.gpa % page.size:
                raise self._refusal(f"has a 2 MiB page at {page.gpa:X}, which is not a multiple of 2 MiB")
        first = run[0]
        kind = _TYPES.get(first.data_type, PageType.NORMAL)
        if kind is PageType.NORMAL and first.flags & PageFlags.UNMEASURED:
            kind = PageType.UNMEASURED
        elif kind is PageType.NORMAL and not first.offset:
            kind = PageType.ZERO
        size = sum(page.size for page in run)
        if not first.offset:
            data = b""
        elif all(page.offset - first.offset == page.gpa - first.gpa for page in run):
            data = self._file.data[first.offset : first.offset + size]
        else:
            data = b"".join(self._file.contents(page) for page in run)
        self._add(Pages(kind, first.gpa, size // PAGE, data))

    def _add(self, pages: Pages) -> None:
        self._count += pages.count
        if self._count > PAGES_MAX:
            raise self._refusal(f"loads more than {PAGES_MAX} pages", "use a smaller file")
        for gpa in range(pages.gpa, pages.end, PAGE):
            if gpa in self._given:
                # KVM: EEXIST (sev_gmem_post_populate).
                raise self._refusal(f"loads the page at {gpa:X} twice, which KVM refuses")
            self._given.add(gpa)
        self._pages.append(pages)

    def _new_area(self, header: ParameterArea) -> None:
        if header.index in self._areas:
            raise self._refusal(f"has two parameter areas {header.index}")
        if not header.size:
            raise self._refusal(f"has an empty parameter area {header.index}")
        # QEMU's areas start as zeros, whatever the file has for them.
        self._areas[header.index] = _Area(bytearray(header.size))
        if sum(len(area.data) for area in self._areas.values()) > PAGES_MAX * PAGE // 16:
            raise self._refusal("has parameter areas of more than 256 MiB", "use a smaller file")

    def _area(self, header: Parameter | ParameterInsert) -> _Area:
        area = self._areas.get(header.index)
        if area is None:
            raise self._refusal(f"uses parameter area {header.index} at {header.at:#x}, which it does not have")
        if area.inserted:
            raise self._refusal(f"uses parameter area {header.index} at {header.at:#x} after it was inserted")
        return area

    def _parameter(self, header: Parameter) -> None:
        kind = header.kind
        if kind not in _WRITTEN or kind not in PARAMETERS:
            raise self._refusal(f"has a parameter that QEMU's loader does not write: {header.name}")
        area = self._area(header)
        # QEMU writes memory map and MADT at the area's start, whatever the offset; in a file for it, it is 0.
        value = parameter(kind, self._machine)
        end = header.byte_offset + len(value)
        room = max(0, len(area.data) - header.byte_offset)
        if end > len(area.data):
            raise self._refusal(
                f"has {room} bytes in parameter area {header.index} for {header.name}, which needs {len(value)}",
                "run fewer vCPUs, or build it with a larger area",
            )
        area.data[header.byte_offset : end] = value

    def _insert(self, header: ParameterInsert) -> None:
        area = self._area(header)
        area.inserted = True
        data = bytes(area.data)
        self._add(Pages(PageType.UNMEASURED, header.gpa, len(data) // PAGE, data.rstrip(b"\0")))

    def _context(self, header: VpContext) -> None:
        page = self._file.contents(header)
        where = f"VP context of vCPU {header.vp}"
        if header.vp in self._vmsas:
            raise self._refusal(f"has a second {where}")
        if not page:
            raise self._refusal(f"has a {where} without contents")
        if header.gpa != KVM_VMSA_GPA:
            raise self._refusal(f"has a {where} at {header.gpa:X}: KVM puts every VMSA at {KVM_VMSA_GPA:X}")
        if (at := vmsa.unsupported_fields(page)) is not None:
            raise self._refusal(f"has a {where} with a field, at {at:#x} of its VMSA, that KVM cannot set")
        one = vmsa.Vmsa(page)
        if not one.features & vmsa.FEATURE_BITS["snp"]:
            raise self._refusal(f"has a {where} without SNP in its SEV_FEATURES ({one.features:X})")
        if self._vmsas and one.features != self.features:
            raise self._refusal(f"has VP contexts with different SEV_FEATURES: {self.features:X}, {one.features:X}")
        self._vmsas[header.vp] = page

    @property
    def features(self) -> int:
        return vmsa.Vmsa(next(iter(self._vmsas.values()))).features

    def _range(self, header: MemoryRange) -> None:
        if header.gpa % PAGE or header.size % PAGE or not header.size:
            raise self._refusal(f"requires memory at {header.gpa:X}, {header.size:#x} bytes, which are not whole pages")
        self._memory.append((header.gpa, header.size))


def _id_block(block: SnpIdBlock, policy: int) -> IdBlock:
    return IdBlock(
        launch_digest=block.launch_digest,
        family_id=block.family_id,
        image_id=block.image_id,
        guest_svn=block.guest_svn,
        policy=policy,
        id_key_digest=_key_digest(block.id_key) if any(block.id_key) else b"",
        author_key_digest=_key_digest(block.author_key_value) if block.author_key else b"",
    )


def _key_digest(key: bytes) -> bytes:
    """Return the SHA-384 of a key in the layout of the SNP firmware (56860, chapter 10): curve, QX, QY, reserved."""
    # Few files have one, and loading it takes two milliseconds before QEMU is started.
    import hashlib

    return hashlib.sha384((key[:4] + key[8:]).ljust(_KEY_SIZE, b"\0")).digest()


def load(file: IgvmFile, machine: MachineFacts) -> Launch:
    """Return the launch of a file for SEV-SNP on a machine. Raises IgvmError for what QEMU would refuse."""
    mask = file.snp_mask
    if mask is None:
        raise IgvmError(f"{file.name} is not for SEV-SNP", "build it with igvmbuilder --snp")
    if not file.checksum_is_right:
        raise IgvmError(f"{file.name} is a damaged IGVM file: its checksum is wrong", "build or copy it again")
    platform = next(one for one in file.platforms if one.mask == mask)
    if platform.shared_gpa_boundary:
        raise IgvmError(
            f"{file.name} is for a guest with vTOM (shared above {platform.shared_gpa_boundary:X})", _BUILD_HINT
        )
    return _Loader(file, mask, machine).load()
