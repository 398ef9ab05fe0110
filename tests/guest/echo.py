# SPDX-License-Identifier: GPL-2.0-or-later
"""A firmware image that prints a line on COM1, and then what is typed there."""

from __future__ import annotations

from tests.firmware import builder

GREETING = "ready\r\n"
#: The chipset shows the image's last 64 KiB below 1 MiB, at F000:0000.
_SEGMENT = 0x10000
_ROOM = 0x100
#: 16-bit code. Interrupts are on, so that the guest is not treated as stuck.
_CODE = (
    "b0ff"  # mov al, FFh
    "e621"  # out 21h, al: no interrupt of the PIC
    "e6a1"  # out A1h, al
    "fb"  # sti
    "be{text}"  # mov si, text
    "2e8a04"  # next: mov al, cs:[si]
    "84c0"  # test al, al
    "7407"  # jz echo
    "baf803"  # mov dx, 3F8h
    "ee"  # out dx, al
    "46"  # inc si
    "ebf2"  # jmp next
    "bafd03"  # echo: mov dx, 3FDh
    "ec"  # again: in al, dx
    "a801"  # test al, 1
    "74fb"  # jz again
    "baf803"  # mov dx, 3F8h
    "ec"  # in al, dx
    "ee"  # out dx, al
    "ebf1"  # jmp echo
)


def echo_image() -> bytes:
    """An image with this code where it has room, and a reset vector that jumps there."""
    image = bytearray(builder.image())
    base = len(image) - _SEGMENT
    start = image.index(b"\xff" * _ROOM, base) + 0x10 & ~0xF
    text = start - base + _ROOM // 2
    code = bytes.fromhex(_CODE.format(text=text.to_bytes(2, "little").hex()))
    image[start : start + len(code)] = code
    image[base + text : base + text + len(GREETING) + 1] = GREETING.encode() + b"\0"
    image[-16:-11] = b"\xea" + (start - base).to_bytes(2, "little") + b"\x00\xf0"
    return bytes(image)
