# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwards the emulated host's log: sends the records that launch/ring.py reads on a stream.

The stream consists of messages: MESSAGE, the records, and the text of an error; a message with an error is the last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from snp_harness.agent import frames
from snp_harness.agent.mux import Stream
from snp_harness.launch.loop import Loop, Timer
from snp_harness.launch.ring import RECORD_SIZE, RingError, RingReader

#: Seconds between two reads of the ring while there are records, and otherwise; the doorbell is faster.
BUSY_S = 0.02
IDLE_S = 0.25
#: Limits of the records in a message, and of an error's text, bytes.
BATCH = 256 << 10
TEXT_MAX = 400
#: Records that the host dropped, #VMEXITs, bytes of the records that follow, bytes of the text.
MESSAGE = struct.Struct("<QQII")


class RingForwarder:
    """Sends the records of one ring.

    before: called before records are sent, so that earlier output of the guest is sent first.
    arm: request the host's doorbell when the ring is empty.
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
        """Send the waiting records, and schedule the next look."""
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
                # A record may have been written before.
                busy = self._forward()
            # Records beyond the window are sent with the next credit.
            self._over = self._ending and not self._ring.waiting()
        except RingError as error:
            # If the window has no room for it, it is sent with the next credit.
            self._over = self._send(b"", str(error).encode()[:TEXT_MAX])
        if self._over:
            self._stream.end()
        elif not self._ending:
            self._timer = self._loop.later(BUSY_S if busy or not self._arm else IDLE_S, self.look)

    def finish(self) -> None:
        """Send the rest and the stream's end, after QEMU has ended."""
        self._ending = True
        self.look()

    def close(self) -> None:
        """Stop forwarding, and unmap the ring."""
        self._over = True
        self._stream.on_credit = None
        self.look()
        self._ring.close()

    def _forward(self) -> bool:
        """Send waiting records, as far as the credit allows, or changed counts. Return whether records were sent."""
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
        """Send a message; False if the credit is too small."""
        counts = self._ring.lost, self._ring.exits
        message = MESSAGE.pack(*counts, len(records), len(text)) + records + text
        if len(message) > self._stream.credit:
            return False
        self._sent_counts = counts
        self._stream.send(message)
        return True


assert BATCH + MESSAGE.size + TEXT_MAX <= frames.PAYLOAD_MAX
