# SPDX-License-Identifier: GPL-2.0-or-later
"""The compacted format of XSAVE's areas, against a model made from the SDM's rules (vol. 1, 13.4, 13.8 and 13.10)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.emulator.buffers import BufferDriver
from tests.emulator.native import compile_driver

X87, SSE, AVX = 1, 2, 4
COMPACT = 1 << 63
HEADER = slice(512, 576)
LEGACY = 576
AREA = 4096
FCW, MXCSR = 0x37F, 0x1F80
X87_BYTES = (*range(24), *range(32, 160))
MXCSR_BYTES = range(24, 28)
MXCSR_AND_MASK = range(24, 32)


@dataclass(frozen=True)
class Component:
    """A state component beyond SSE: sub-leaf of CPUID leaf D."""

    size: int
    offset: int
    aligned: bool


Layout = dict[int, Component]
#: As EPYC processors have it, and with the components of others.
EPYC: Layout = {2: Component(256, 576, False), 9: Component(8, 2432, False)}
OTHER: Layout = {
    2: Component(256, 576, False),
    3: Component(64, 960, False),
    4: Component(64, 1024, False),
    5: Component(64, 1088, True),
    6: Component(512, 1152, True),
    9: Component(8, 2688, False),
    17: Component(64, 2752, True),
}


class Format(BufferDriver):
    """harness/emulator/hardware/xsave_format.h for one layout."""

    def use(self, layout: Layout) -> None:
        self.ask("reset")
        for number, part in layout.items():
            assert self.ask("add", number, part.size, part.offset, 2 if part.aligned else 0) == [1]

    def in_use(self, features: int, image: bytes) -> int:
        self.load(0, image)
        [used] = self.ask("in_use", features)
        return used

    def valid(self, allowed: int, requested: int, area: bytes) -> int:
        self.load(0, area)
        [valid] = self.ask("valid", allowed, requested)
        return valid

    def compact(self, image: bytes, requested: int, saved: int, mode64: bool, before: bytes) -> bytes:
        self.load(0, image)
        self.load(1, before)
        return bytes(self.ask("compact", requested, saved, int(mode64)))

    def expand(self, area: bytes, requested: int, mode64: bool, before: bytes) -> bytes:
        self.load(0, area)
        self.load(1, before)
        return bytes(self.ask("expand", requested, int(mode64)))


@pytest.fixture(scope="module")
def xsave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Format]:
    sources = ("hardware/xsave_format.c",)
    with Format(compile_driver(tmp_path_factory.mktemp("xsave"), "xsave_driver.c", *sources)) as driver:
        yield driver


def places(layout: Layout, xcomp: int) -> dict[int, int]:
    """Where the compacted area with this XCOMP_BV has each component; 63: its end."""
    at, found = LEGACY, {}
    for number, part in sorted(layout.items()):
        if xcomp & 1 << number:
            at = (at + 63) // 64 * 64 if part.aligned else at
            found[number] = at
            at += part.size
    return found | {63: at}


def sse_bytes(mode64: bool) -> tuple[int, ...]:
    return (*MXCSR_BYTES, *range(160, 416 if mode64 else 288))


def width(number: int, part: Component, mode64: bool) -> int:
    return 128 if number == 2 and not mode64 else part.size


def used(layout: Layout, image: bytes) -> int:
    """The components of an area in standard format that are not in their initial configuration."""
    initial = FCW.to_bytes(2, "little") + bytes(len(X87_BYTES) - 2)
    bits = X87 if bytes(image[i] for i in X87_BYTES) != initial else 0
    if int.from_bytes(image[24:28], "little") != MXCSR or any(image[160:416]):
        bits |= SSE
    for number, part in layout.items():
        bits |= 1 << number if any(image[part.offset : part.offset + part.size]) else 0
    return bits


def compacted(layout: Layout, image: bytes, requested: int, saved: int, mode64: bool, before: bytes) -> bytes:
    """What XSAVEC leaves in memory."""
    area = bytearray(before)
    for i in (*X87_BYTES,) if saved & X87 else ():
        area[i] = image[i]
    for i in (*sse_bytes(mode64), *MXCSR_AND_MASK) if saved & SSE else ():
        area[i] = image[i]
    for number, at in places(layout, requested).items():
        if saved & 1 << number and number != 63:
            size = width(number, layout[number], mode64)
            area[at : at + size] = image[layout[number].offset : layout[number].offset + size]
    area[512:528] = saved.to_bytes(8, "little") + (requested | COMPACT).to_bytes(8, "little")
    return bytes(area)


def expanded(layout: Layout, area: bytes, requested: int, mode64: bool, before: bytes) -> bytes:
    """The state after XRSTORS, in standard format."""
    xstate, xcomp = (int.from_bytes(area[at : at + 8], "little") for at in (512, 520))
    image = bytearray(before)
    initial = bytearray(LEGACY)
    initial[:2], initial[24:28] = FCW.to_bytes(2, "little"), MXCSR.to_bytes(4, "little")
    for bit, positions in ((X87, X87_BYTES), (SSE, sse_bytes(mode64))):
        for i in positions if requested & bit else ():
            image[i] = area[i] if xstate & bit else initial[i]
    at = places(layout, xcomp)
    for number, part in layout.items():
        if requested & 1 << number:
            size = width(number, part, mode64)
            loaded = area[at[number] : at[number] + size] if xstate & 1 << number else bytes(size)
            image[part.offset : part.offset + size] = loaded
    image[512:528] = requested.to_bytes(8, "little") + bytes(8)
    return bytes(image)


def random_image(seed: random.Random, layout: Layout) -> bytes:
    """A state of which some components are in their initial configuration."""
    image = bytearray(seed.randbytes(AREA))
    initial = bytearray(AREA)
    initial[:2], initial[24:28] = FCW.to_bytes(2, "little"), MXCSR.to_bytes(4, "little")
    if seed.random() < 0.5:
        for i in X87_BYTES:
            image[i] = initial[i]
    if seed.random() < 0.5:
        for i in sse_bytes(True):
            image[i] = initial[i]
    if seed.random() < 0.3:
        image[24:28] = initial[24:28]
    for part in layout.values():
        if seed.random() < 0.5:
            image[part.offset : part.offset + part.size] = bytes(part.size)
    return bytes(image)


def random_features(seed: random.Random, layout: Layout) -> int:
    return sum(1 << number for number in (0, 1, *layout) if seed.random() < 0.6)


@pytest.mark.parametrize("layout", [EPYC, OTHER], ids=["epyc", "other"])
def test_against_the_model(xsave: Format, layout: Layout) -> None:
    seed = random.Random(1)
    xsave.use(layout)
    for _ in range(300):
        image, mode64 = random_image(seed, layout), seed.random() < 0.6
        requested = random_features(seed, layout)
        saved = xsave.in_use(requested, image)
        assert saved == used(layout, image) & requested
        ends = places(layout, requested)
        last = max((n for n in layout if saved & 1 << n), default=0)
        end = ends[last] + layout[last].size if last else LEGACY
        assert xsave.ask("end", requested, saved) == [end]
        before = seed.randbytes(end)
        area = xsave.compact(image, requested, saved, mode64, before)
        assert area == compacted(layout, image, requested, saved, mode64, before)

        other, wanted = random_image(seed, layout), random_features(seed, layout)
        assert xsave.expand(area, wanted, mode64, other) == expanded(layout, area, wanted, mode64, other)


def header(xstate: int, xcomp: int, mxcsr: int = MXCSR) -> bytearray:
    area = bytearray(LEGACY)
    area[24:28] = mxcsr.to_bytes(4, "little")
    area[512:528] = xstate.to_bytes(8, "little") + xcomp.to_bytes(8, "little")
    return area


@pytest.mark.parametrize(
    ("xstate", "xcomp", "mxcsr", "requested", "valid"),
    [
        (0, COMPACT, MXCSR, 7, True),
        (7, COMPACT | 7, MXCSR, 7, True),
        (7, 7, MXCSR, 7, False),  # not compacted
        (0, COMPACT | 8, MXCSR, 7, False),  # a component that is not allowed, though not in use
        (4, COMPACT | 3, MXCSR, 7, False),  # in use without a place
        (COMPACT, COMPACT, MXCSR, 7, False),
        (2, COMPACT | 7, 0x10000, 7, False),  # a reserved bit of MXCSR
        (2, COMPACT | 7, 0x10000, 5, True),  # which is not loaded
        (5, COMPACT | 7, 0x10000, 7, True),  # or initialized
        (2, COMPACT | 7, 0xFFFF, 7, True),
    ],
)
def test_headers(xsave: Format, xstate: int, xcomp: int, mxcsr: int, requested: int, valid: bool) -> None:
    assert xsave.valid(7, requested, bytes(header(xstate, xcomp, mxcsr))) == valid


def test_each_reserved_byte_of_the_header(xsave: Format) -> None:
    for position in range(528, 576):
        area = header(7, COMPACT | 7)
        area[position] = 1
        assert xsave.valid(7, 7, bytes(area)) == 0, position


@pytest.mark.parametrize(
    ("number", "size", "offset"),
    [
        (1, 8, 576),
        (63, 8, 576),
        (2, 0, 576),
        (2, 256, 512),
        (2, 4096, 576),
        (9, 8, 4090),
        (9, 8, 0xFFFFFFFF),
        (9, 0xFFFFFFFF, 600),
    ],
)
def test_components_without_a_place(xsave: Format, number: int, size: int, offset: int) -> None:
    xsave.ask("reset")
    assert xsave.ask("add", number, size, offset, 0) == [0]
    assert xsave.ask("end", 1 << number, 1 << number) == [LEGACY]
