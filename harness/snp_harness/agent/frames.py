# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire between the harness and its agent on a host: frames on one byte stream.

A frame is u32 length of the payload | u8 kind | u16 stream, little endian, and the payload, of 1 MiB at most. Before
its first frame the agent writes GREETING; the data before that is output of the login shell.

CONTROL (stream 0): a JSON object in UTF-8. The near side asks {"id": number, "op": name, ...}; the agent answers
    {"id": number, "ok": value} or {"id": number, "error": {"kind", "message", "hint"}}, in any order. The agent sends
    {"event": name, ...} without a request.
BLOB (stream 0): content for the store, after the `put` that announces it.
DATA (streams from 1): bytes of a console, QMP, a trace or a log; a payload of no bytes is the end of that direction.
WINDOW (streams from 1): u32, so many bytes more may be sent: the receiver has passed them on. Each direction of a
    stream starts with WINDOW_SIZE. So a reader that is slow holds up its own stream and no other.
PING, PONG (stream 0): the near side pings while it lives; an agent that receives nothing for long ends, and cleans up.

The near side chooses the number of a stream, one that is not in use. Operations, and the module that serves each:

    hello    patience_s             agent: {"python", "pid", "user", "host", "kernel"}; a longer silence ends it
    bye                             agent: clean up and end; the byte stream ends when that is done
    lock     owner, wait_s          lock: lock the host, or error "locked" with the owner and the time
    find     qemu                   qemu: a QEMU's {"path", "prefix"}, and the result of -version: "status", "stdout",
                                    "stderr"; "qemu" null: the one in PATH
    has      sha256: [...]          files: the contents that the store lacks, {"missing": [...]}
    put      sha256, size           files: the next BLOB goes into the store
    open     run                    process: a new, empty run directory, {"path"}
    place    run, name, parts       files: a file of the run directory, joined from contents of the store (sha256 each)
    start    run, argv, ...         process: QEMU, see snp_harness/agent/qemu_process.py; {"pid"}
             event "exit", run, status    it has ended; its streams end when all its output has been sent
    kill     run, signal            process: send it a signal
    release  run                    process: kill it, remove its directory and its resources

A module of the agent adds operations of its own to `Agent.ops` (snp_harness/agent/__main__.py); those of the trace
(trace.py), of images in a guest's memory (images.py) and of facts about the host (probe.py) are described there.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

#: The agent writes this before its first frame. A change of the protocol changes the number.
GREETING = b"\0snp-harness-agent 1\0"
HEADER = struct.Struct("<IBH")
PAYLOAD_MAX = 1 << 20
STREAM_MAX = 0xFFFF
#: Bytes of a stream that may be sent and not yet passed on by the receiver.
WINDOW_SIZE = 1 << 20

CONTROL = 0
BLOB = 1
DATA = 2
WINDOW = 3
PING = 4
PONG = 5
_KINDS = (CONTROL, BLOB, DATA, WINDOW, PING, PONG)
_STREAM_KINDS = (DATA, WINDOW)
_CREDIT = struct.Struct("<I")


class FrameError(Exception):
    """The bytes are not a frame, or not one that may be sent."""


class Frame(NamedTuple):
    """One frame."""

    kind: int
    stream: int
    payload: bytes


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame's bytes."""
    return HEADER.pack(len(payload), kind, stream) + payload


def encode_control(message: dict[str, Any]) -> bytes:
    """Return a CONTROL frame. Raises FrameError if the message is too long."""
    payload = json.dumps(message, separators=(",", ":")).encode()
    if len(payload) > PAYLOAD_MAX:
        raise FrameError(f"a control message of {len(payload)} bytes is too long")
    return encode(CONTROL, 0, payload)


def decode_control(payload: bytes) -> dict[str, Any]:
    """Return the message of a CONTROL frame. Raises FrameError."""
    try:
        message = json.loads(payload.decode())
    except (ValueError, RecursionError):
        raise FrameError("a control message is not JSON") from None
    if not isinstance(message, dict):
        raise FrameError("a control message is not a JSON object")
    return message


def encode_credit(stream: int, size: int) -> bytes:
    """Return a WINDOW frame for `size` bytes."""
    return encode(WINDOW, stream, _CREDIT.pack(size))


def decode_credit(payload: bytes) -> int:
    """Return the bytes that a WINDOW frame allows in addition. Raises FrameError."""
    if len(payload) != _CREDIT.size:
        raise FrameError(f"a window frame has {len(payload)} bytes")
    return int(_CREDIT.unpack(payload)[0])


class Decoder:
    """Splits a byte stream into frames. Buffers at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Raises FrameError for an invalid frame, which is final."""
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        while len(buffer) - at >= HEADER.size:
            length, kind, stream = HEADER.unpack_from(buffer, at)
            if length > PAYLOAD_MAX or kind not in _KINDS or (stream > 0) != (kind in _STREAM_KINDS):
                raise FrameError(f"a frame of kind {kind} for stream {stream} with {length} bytes is invalid")
            start = at + HEADER.size
            if len(buffer) - start < length:
                break
            at = start + length
            frames.append(Frame(kind, stream, bytes(memoryview(buffer)[start:at])))
        del buffer[:at]
        return frames


class GreetingFinder:
    """Skips the output of a login shell before the agent's greeting. seen: that output, for an error."""

    LIMIT = 64 << 10

    def __init__(self) -> None:
        self.found = False
        self.seen = b""

    def feed(self, data: bytes) -> bytes:
        """Return the part of `data` after the greeting. Raises FrameError if LIMIT bytes do not contain it."""
        if self.found:
            return data
        self.seen += data
        before, found, after = self.seen.partition(GREETING)
        if found:
            self.found = True
            self.seen = before
            return after
        if len(self.seen) > self.LIMIT:
            raise FrameError("the agent's greeting was not received")
        return b""
