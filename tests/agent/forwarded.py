# SPDX-License-Identifier: GPL-2.0-or-later
"""A ring, its forwarder, and the reader at the other end of a byte stream."""

from __future__ import annotations

import socket

from snp_harness.agent.mux import DescriptorPort, Mux
from snp_harness.agent.ring import RingForwarder
from snp_harness.hosts.streamed_ring import StreamedRing
from snp_harness.launch.loop import Loop
from snp_harness.launch.ring import RingReader
from tests.launch.ring import RingWriter


class Forwarded:
    """Both sides, turned by the test. before: number of calls of the forwarder's `before`."""

    def __init__(self, capacity: int = 16, *, arm: bool = True) -> None:
        self.ring = RingWriter(capacity)
        self.sockets = socket.socketpair()
        self.loops = Loop(), Loop()
        self.muxes = [
            Mux(DescriptorPort(end.fileno(), end.fileno()), loop, lambda _: None, lambda _: None, lambda _: None)
            for end, loop in zip(self.sockets, self.loops, strict=True)
        ]
        ours, theirs = socket.socketpair()
        self.muxes[0].open(1, theirs, reads=False)
        self.source = StreamedRing(ours, self.loops[0])
        self.before = 0
        self.forwarder = RingForwarder(
            self.loops[1],
            self.muxes[1].open(1, None, writes=False),
            RingReader(self.ring.fd, self.ring.size),
            self._before,
            arm=arm,
        )

    def _before(self) -> None:
        self.before += 1

    def turn(self) -> None:
        """Turn both sides until all sent data is received."""
        for _ in range(6):
            for loop in self.loops:
                loop.turn(0)

    def look(self) -> None:
        """Make the forwarder look, and receive what it sends."""
        self.forwarder.look()
        self.turn()

    def close(self) -> None:
        self.forwarder.close()
        self.source.close()
        for mux in self.muxes:
            mux.close()
        for loop in self.loops:
            loop.close()
        for end in self.sockets:
            end.close()
        self.ring.close()
