# SPDX-License-Identifier: GPL-2.0-or-later
"""IGVM files: the contents of a guest's memory that a loader such as QEMU writes before the guest starts.

The format is little endian. Its specification is Microsoft's crate `igvm_defs` (microsoft/igvm, igvm_defs/src/lib.rs).
A file is a fixed header, then a list of variable headers (type, length, content, padded to 8 bytes), then file data
that the headers refer to by offsets from the file's start. The CRC-32 covers the fixed and the variable headers, with
its own field as zero, and no file data.

A file is untrusted input: every offset and count is checked against the file before it is used.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from snp_harness.errors import UsageError

MAGIC = b"IGVM"
#: Version 2 adds architecture and page size to the fixed header (igvm_defs: IGVM_FIXED_HEADER_V2).
VERSIONS = (1, 2)
PAGE = 0x1000
LARGE_PAGE = 0x200000
#: Bounds on a file and its list of headers. COCONUT's files have some 20 MiB and 6000 headers. Pages may share their
#: contents in the file: that of all pages together has the file's bound, too.
FILE_MAX = 512 << 20
HEADERS_MAX = 64 << 20
#: Variable headers of a file: with one for each page, 512 MiB.
HEADER_COUNT_MAX = 1 << 17
#: Flag in a header's type: a loader that does not know the type may ignore it.
OPTIONAL = 1 << 31

#: The fixed header of version 1, and what version 2 adds.
FIXED = struct.Struct("<4sIIIII")
_FIXED_2 = struct.Struct("<II")
_HEADER = struct.Struct("<II")
_CHECKSUM_AT = 20
_HINT = "use a file made by COCONUT's igvmbuilder, or another IGVM builder"


class IgvmError(UsageError):
    """A file is not an IGVM file, is damaged, or cannot be used; the message names file and reason."""


class PlatformType(enum.IntEnum):
    """IgvmPlatformType."""

    NATIVE = 0
    VSM_ISOLATION = 1
    SEV_SNP = 2
    TDX = 3
    SEV = 4
    SEV_ES = 5


class HeaderType(enum.IntEnum):
    """IgvmVariableHeaderType: 001-100 platforms, 101-200 initialization, 301-400 directives."""

    SUPPORTED_PLATFORM = 0x001
    GUEST_POLICY = 0x101
    RELOCATABLE_REGION = 0x102
    PAGE_TABLE_RELOCATION_REGION = 0x103
    PARAMETER_AREA = 0x301
    PAGE_DATA = 0x302
    PARAMETER_INSERT = 0x303
    VP_CONTEXT = 0x304
    REQUIRED_MEMORY = 0x305
    VP_COUNT_PARAMETER = 0x307
    SRAT = 0x308
    MADT = 0x309
    MMIO_RANGES = 0x30A
    SNP_ID_BLOCK = 0x30B
    MEMORY_MAP = 0x30C
    ERROR_RANGE = 0x30D
    COMMAND_LINE = 0x30E
    SLIT = 0x30F
    PPTT = 0x310
    VBS_MEASUREMENT = 0x311
    DEVICE_TREE = 0x312
    ENVIRONMENT_INFO_PARAMETER = 0x313


class DataType(enum.IntEnum):
    """IgvmPageDataType."""

    NORMAL = 0
    SECRETS = 1
    CPUID_DATA = 2
    CPUID_XF = 3


class PageFlags(enum.IntEnum):
    """IgvmPageDataFlags, bits of a number. Of enum.IntFlag, `&` is slow: a file has thousands of pages."""

    LARGE = 1
    UNMEASURED = 2
    SHARED = 4


_KINDS = {int(kind): kind for kind in HeaderType}
#: Content of a header for a value that the loader writes into a parameter area (IGVM_VHS_PARAMETER).
PARAMETERS = frozenset(
    {
        HeaderType.VP_COUNT_PARAMETER,
        HeaderType.SRAT,
        HeaderType.MADT,
        HeaderType.MMIO_RANGES,
        HeaderType.MEMORY_MAP,
        HeaderType.COMMAND_LINE,
        HeaderType.SLIT,
        HeaderType.PPTT,
        HeaderType.DEVICE_TREE,
        HeaderType.ENVIRONMENT_INFO_PARAMETER,
    }
)


class Header(Struct, frozen=True):
    """A variable header. at: its offset in the file. mask: the platforms it applies to, None if it applies to all.

    Headers that are not decoded further are of this class itself.
    """

    at: int
    type: int
    content: bytes
    mask: int | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.at}>"

    @property
    def kind(self) -> HeaderType | None:
        """Its type, None if the specification does not name it."""
        return _KINDS.get(self.type & ~OPTIONAL)

    @property
    def name(self) -> str:
        """The type's name, as in "PAGE_DATA"."""
        kind = self.kind
        return f"type {self.type:X}" if kind is None else kind.name

    def applies(self, mask: int) -> bool:
        """Return whether it applies to the platform with that compatibility mask."""
        return self.mask is None or bool(self.mask & mask)


class SupportedPlatform(Header, frozen=True):
    """IGVM_VHS_SUPPORTED_PLATFORM: `mask` is its bit in the masks of the other headers."""

    platform: int = 0
    highest_vtl: int = 0
    version: int = 0
    shared_gpa_boundary: int = 0


class GuestPolicy(Header, frozen=True):
    """IGVM_VHS_GUEST_POLICY."""

    policy: int = 0


class ParameterArea(Header, frozen=True):
    """IGVM_VHS_PARAMETER_AREA: memory that the loader fills. offset: of its first contents, 0 for zeroes."""

    index: int = 0
    size: int = 0
    offset: int = 0


class Parameter(Header, frozen=True):
    """IGVM_VHS_PARAMETER: the loader writes a value of `kind` into an area at an offset."""

    index: int = 0
    byte_offset: int = 0


class ParameterInsert(Header, frozen=True):
    """IGVM_VHS_PARAMETER_INSERT: an area is loaded at an address, unmeasured."""

    index: int = 0
    gpa: int = 0


class PageData(Header, frozen=True):
    """IGVM_VHS_PAGE_DATA. offset: of the contents in the file, 0 for zeroes."""

    gpa: int = 0
    offset: int = 0
    flags: int = 0
    data_type: int = 0

    @property
    def size(self) -> int:
        """Bytes of the page."""
        return LARGE_PAGE if self.flags & PageFlags.LARGE else PAGE


class VpContext(Header, frozen=True):
    """IGVM_VHS_VP_CONTEXT: the first state of a vCPU; for SNP its VMSA, at `gpa`."""

    gpa: int = 0
    offset: int = 0
    vp: int = 0


class MemoryRange(Header, frozen=True):
    """IGVM_VHS_REQUIRED_MEMORY and IGVM_VHS_ERROR_RANGE."""

    gpa: int = 0
    size: int = 0


class SnpIdBlock(Header, frozen=True):
    """IGVM_VHS_SNP_ID_BLOCK. launch_digest: of the launch. signed: the ID key's signature is not zero.

    id_key, author_key_value: IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY: curve, 4 reserved bytes, QX and QY of 72 bytes.
    """

    author_key: bool = False
    launch_digest: bytes = b""
    family_id: bytes = b""
    image_id: bytes = b""
    version: int = 0
    guest_svn: int = 0
    signed: bool = False
    id_key: bytes = b""
    author_key_value: bytes = b""


#: Where SnpIdBlock's launch digest lies in its content.
ID_BLOCK_DIGEST = 8
DIGEST_SIZE = 48

#: How a header's content is decoded: its class, and the names of the first fields of its structure.
_LAYOUTS: tuple[tuple[int, type[Header], str, str], ...] = (
    (
        HeaderType.SUPPORTED_PLATFORM,
        SupportedPlatform,
        "<IBBHQ",
        "mask highest_vtl platform version shared_gpa_boundary",
    ),
    (HeaderType.GUEST_POLICY, GuestPolicy, "<QII", "policy mask"),
    (HeaderType.PARAMETER_AREA, ParameterArea, "<QII", "size index offset"),
    *((kind, Parameter, "<II", "index byte_offset") for kind in PARAMETERS),
    (HeaderType.PARAMETER_INSERT, ParameterInsert, "<QII", "gpa mask index"),
    (HeaderType.PAGE_DATA, PageData, "<QIIIHH", "gpa mask offset flags data_type"),
    (HeaderType.VP_CONTEXT, VpContext, "<QIIHH", "gpa mask offset vp"),
    (HeaderType.REQUIRED_MEMORY, MemoryRange, "<QIIII", "gpa mask size"),
    (HeaderType.ERROR_RANGE, MemoryRange, "<QII", "gpa mask size"),
    (HeaderType.RELOCATABLE_REGION, Header, "<I", "mask"),
    (HeaderType.PAGE_TABLE_RELOCATION_REGION, Header, "<I", "mask"),
    (HeaderType.VBS_MEASUREMENT, Header, "<I", "mask"),
)
_FORMS = {kind: (form, struct.Struct(format), tuple(names.split())) for kind, form, format, names in _LAYOUTS}
_ID_BLOCK = struct.Struct("<IB3x48s16s16sIIII144s152s144s152s")


def _decode(at: int, kind: int, content: bytes) -> Header:
    """Raises struct.error if the content is shorter than its type's."""
    known = kind & ~OPTIONAL
    if known == HeaderType.SNP_ID_BLOCK:
        mask, author, digest, family, image, version, svn, _, _, signature, key, _, author_key = _ID_BLOCK.unpack_from(
            content
        )
        return SnpIdBlock(
            at, kind, content, mask, bool(author), digest, family, image, version, svn, any(signature), key, author_key
        )
    if known not in _FORMS:
        return Header(at, kind, content)
    form, structure, names = _FORMS[known]
    return form(at, kind, content, **dict(zip(names, structure.unpack_from(content), strict=False)))


class IgvmFile(Struct, frozen=True):
    """A file. data: its bytes. headers: the variable ones, in order. headers_at, headers_size: their offset and bytes.

    checksum: as stored in the file. architecture, page_size: of version 2, else x86-64 (0) and 4096.
    """

    name: str
    data: bytes
    version: int
    headers_at: int
    headers_size: int
    checksum: int
    architecture: int
    page_size: int
    headers: tuple[Header, ...]

    def __repr__(self) -> str:
        return f"<IgvmFile {self.name}>"

    @classmethod
    def open(cls, path: Path) -> IgvmFile:
        """Read the file at a path. Raises IgvmError."""
        try:
            with path.open("rb") as stream:
                data = stream.read(FILE_MAX + 1)
        except OSError as error:
            raise IgvmError(f"cannot read {path}: {error.strerror}", _HINT) from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> IgvmFile:
        """Parse a file's bytes. name: for messages. Raises IgvmError."""
        if len(data) > FILE_MAX:
            raise IgvmError(f"{name} is larger than {FILE_MAX >> 20} MiB", _HINT)
        if data[:4] != MAGIC or len(data) < FIXED.size:
            raise IgvmError(f"{name} is not an IGVM file", _HINT)
        _, version, at, size, total, checksum = FIXED.unpack_from(data)
        if version not in VERSIONS:
            raise IgvmError(f"{name} has IGVM format version {version}", f"versions {VERSIONS} can be read")
        fixed = FIXED.size + (_FIXED_2.size if version >= 2 else 0)
        if total > len(data):
            raise _damaged(name, f"{len(data)} bytes of {total} are there")
        if size > HEADERS_MAX or at < fixed or at % 8 or at + size > total:
            raise _damaged(name, f"its variable headers ({size:#x} bytes at {at:#x}) do not fit into it")
        architecture, page_size = _FIXED_2.unpack_from(data, FIXED.size) if version >= 2 else (0, PAGE)
        headers = tuple(_headers(data, at, at + size, name))
        file = cls(name, data[:total], version, at, size, checksum, architecture, page_size, headers)
        file._check()
        return file

    @property
    def checksum_is_right(self) -> bool:
        """Whether the stored CRC-32 is that of the headers; loaders refuse a file otherwise."""
        return self.checksum == checksum_of(self.data)

    @property
    def platforms(self) -> tuple[SupportedPlatform, ...]:
        """The platforms it can be loaded on."""
        return tuple(header for header in self.headers if isinstance(header, SupportedPlatform))

    @property
    def snp_mask(self) -> int | None:
        """The compatibility mask of SEV-SNP, None without it."""
        return next((one.mask for one in self.platforms if one.platform == PlatformType.SEV_SNP), None)

    def contents(self, header: PageData | VpContext) -> bytes:
        """The contents of a page or a VP context in the file; b"" for zeroes, which are not stored."""
        size = header.size if isinstance(header, PageData) else PAGE
        return self.data[header.offset : header.offset + size] if header.offset else b""

    def _check(self) -> None:
        """Check that every reference of a header is inside the file, after the headers."""
        first = self.headers_at + self.headers_size
        contents = 0
        for header in self.headers:
            match header:
                case PageData():
                    self._check_address(header, header.gpa)
                    size = header.size
                    contents += size if header.offset else 0
                case VpContext():
                    # Other platforms' contexts are shorter; they are not decoded.
                    size = PAGE if self.snp_mask is not None and header.applies(self.snp_mask) else 1
                case ParameterInsert():
                    self._check_address(header, header.gpa)
                    continue
                case ParameterArea():
                    size = header.size
                    if size % PAGE or size > FILE_MAX:
                        raise _damaged(self.name, f"a parameter area has {size:#x} bytes")
                case _:
                    continue
            if header.offset and not first <= header.offset <= len(self.data) - size:
                raise _damaged(self.name, f"{header.name} at {header.at:#x} refers to bytes outside its file data")
        if contents > FILE_MAX:
            raise IgvmError(
                f"{self.name} has pages with contents of {contents >> 20} MiB", f"{FILE_MAX >> 20} are possible"
            )

    def _check_address(self, header: Header, gpa: int) -> None:
        if gpa % PAGE:
            raise _damaged(
                self.name, f"{header.name} at {header.at:#x} goes to {gpa:X}, which is not the start of a page"
            )


def _headers(data: bytes, at: int, end: int, name: str) -> Iterator[Header]:
    count = 0
    while at < end:
        count += 1
        if count > HEADER_COUNT_MAX:
            raise IgvmError(f"{name} has more than {HEADER_COUNT_MAX} variable headers", "use a smaller file")
        if end - at < _HEADER.size:
            raise _damaged(name, f"an incomplete variable header at {at:#x}")
        kind, length = _HEADER.unpack_from(data, at)
        start = at + _HEADER.size
        if length + -length % 8 > end - start:
            raise _damaged(name, f"the variable header at {at:#x} is longer than their list")
        try:
            yield _decode(at, kind, data[start : start + length])
        except struct.error:
            raise _damaged(name, f"the variable header of type {kind:X} at {at:#x} has {length} bytes") from None
        at = start + length + -length % 8


def _damaged(name: str, reason: str) -> IgvmError:
    return IgvmError(f"{name} is a damaged IGVM file: {reason}", "build or copy it again")


def checksum_of(data: bytes) -> int:
    """Return the correct CRC-32 of a file whose fixed header is valid."""
    _, version, at, size, _, _ = FIXED.unpack_from(data)
    fixed = FIXED.size + (_FIXED_2.size if version >= 2 else 0)
    head = data[:_CHECKSUM_AT] + bytes(4) + data[_CHECKSUM_AT + 4 : fixed]
    return zlib.crc32(data[at : at + size], zlib.crc32(head))


def with_fixed_header(data: bytes, *, headers_size: int) -> bytes:
    """The file's bytes with correct sizes and checksum in the fixed header."""
    magic, version, at, _, _, _ = FIXED.unpack_from(data)
    data = FIXED.pack(magic, version, at, headers_size, len(data), 0) + data[FIXED.size :]
    return data[:_CHECKSUM_AT] + checksum_of(data).to_bytes(4, "little") + data[_CHECKSUM_AT + 4 :]


def pack_header(kind: int, content: bytes) -> bytes:
    """A variable header with its padding."""
    return _HEADER.pack(kind, len(content)) + content + bytes(-len(content) % 8)
