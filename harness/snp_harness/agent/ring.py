# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwards the emulated host's log: what launch/ring.py reads goes out on a stream.

The stream is a row of messages: MESSAGE, then the records and the text of an error, which is the last that is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from snp_harness.agent import frames
from snp_harness.agent.mux import Stream
from snp_harness.launch.loop import Loop, Timer
from snp_harness.launch.ring import RECORD_SIZE, RingError, RingReader

#: Seconds between two looks while records come, and while none come; the doorbell rings earlier.
BUSY_S = 0.02
IDLE_S = 0.25
#: Bytes of records sent at once, and of an error's text.
BATCH = 256 << 10
TEXT_MAX = 400
#: Records that the host dropped, #VMEXITs, bytes of the records that follow, bytes of the text.
MESSAGE = struct.Struct("<QQII")


class RingForwarder:
    """Sends what one ring holds.

    before: called before records are sent, so that what the guest printed earlier goes first.
    arm: ask the host for its doorbell when there is nothing to read.
    """

    def __init__(self, loop: Loop, stream: Stream, ring: RingReader, before: Callable[[], None], *, arm: bool) -> None:
        self._loop = loop
        self._stream = stream
        self._ring = ring
        self._before = before
        self._arm = arm
        self._sent_counts = (0, 0)
        self._ending = False
        self._over = False
        self._timer: Timer | None = None
        stream.on_credit = self.look
        self.look()

    def look(self) -> None:
        """Send what there is, and look again later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._over:
            return
        busy = False
        try:
            busy = self._forward()
            if not busy and self._arm and not self._ending:
                self._ring.arm()
                # A record may have come before.
                busy = self._forward()
            # What the window has no room for goes with the next credit.
            self._over = self._ending and not self._ring.waiting()
        except RingError as error:
            # Without room for it, too, at the next credit.
            self._over = self._send(b"", str(error).encode()[:TEXT_MAX])
        if self._over:
            self._stream.end()
        elif not self._ending:
            self._timer = self._loop.later(BUSY_S if busy or not self._arm else IDLE_S, self.look)

    def finish(self) -> None:
        """QEMU has ended: send the rest, then the stream's end."""
        self._ending = True
        self.look()

    def close(self) -> None:
        """Unmap the ring."""
        self._over = True
        self._stream.on_credit = None
        self.look()
        self._ring.close()

    def _forward(self) -> bool:
        """Send the records there are, as far as there is credit, or the counts if they changed; False if neither."""
        left = self._ring.waiting()
        if left:
            self._before()
        sent = False
        while left:
            number = min(left, BATCH // RECORD_SIZE, (self._stream.credit - MESSAGE.size) // RECORD_SIZE)
            if number <= 0:
                return sent
            batch = self._ring.take(number)
            left -= len(batch) // RECORD_SIZE
            sent = self._send(batch)
        if not sent and self._sent_counts != (self._ring.lost, self._ring.exits):
            self._send(b"")
        return sent

    def _send(self, records: bytes, text: bytes = b"") -> bool:
        """Send a message; False if there is no room for it."""
        counts = self._ring.lost, self._ring.exits
        message = MESSAGE.pack(*counts, len(records), len(text)) + records + text
        if len(message) > self._stream.credit:
            return False
        self._sent_counts = counts
        self._stream.send(message)
        return True


assert BATCH + MESSAGE.size + TEXT_MAX <= frames.PAYLOAD_MAX
