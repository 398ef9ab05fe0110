# SPDX-License-Identifier: GPL-2.0-or-later
"""A relay to a server that can stop forwarding, as a lost network does."""

from __future__ import annotations

import socket
import threading

from tests.hosts.sshd import Sshd


class Relay:
    """Listens on loopback and forwards one connection to a server.

    port: where it listens. after: how many times bytes come from the server until it stalls by itself.
    """

    def __init__(self, server: Sshd, after: int | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server = server
        self._left = after
        self._stalled = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server through this relay. Its key must be in known_hosts: `trust`."""
        return f"ssh://{self._server.user}@127.0.0.1:{self.port}"

    def trust(self) -> None:
        """Write the server's key into the near side's known_hosts, for the relay's address."""
        self._server.trust(port=self.port)

    def stall(self) -> None:
        """Stop forwarding."""
        self._stalled.set()

    def close(self) -> None:
        """Close all connections."""
        for connection in (self._listener, *self._sockets):
            connection.close()

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._server.port))
        self._sockets += [near, far]
        threading.Thread(target=self._copy, args=(near, far), daemon=True).start()
        self._copy(far, near, self._left)

    def _copy(self, source: socket.socket, target: socket.socket, left: int | None = None) -> None:
        while True:
            try:
                data = source.recv(1 << 16)
                if not data:
                    return
                if left == 0:
                    self.stall()
                if not self._stalled.is_set():
                    target.sendall(data)
            except OSError:
                return
            left = left if left is None else left - 1
