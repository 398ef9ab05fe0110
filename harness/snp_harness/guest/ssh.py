# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a guest with the keys of its run, by paramiko: commands and files."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import paramiko

from snp_harness.guest.guest_errors import GuestError, GuestTimeoutError
from snp_harness.launch.patience import Patience
from snp_harness.tools.linux_guest.keys import USER

if TYPE_CHECKING:
    from snp_harness.tools.linux_guest.keys import RunKeys

#: Longest time for the server's first line. The port answers before there is a server; then a new attempt is needed.
_BANNER_S = 60.0
_STEP_S = 0.05
_READ = 1 << 16
_END_S = 0.5
#: What paramiko has in place of an exit status.
_NO_STATUS = -1
#: The most that a command may print, bytes.
_MAX_OUTPUT = 64 << 20
#: paramiko logs each attempt that fails, with a traceback.
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False
#: What paramiko raises if there is no connection, or no longer.
_LOST = (paramiko.SSHException, OSError, EOFError)


class CommandResult(NamedTuple):
    """A command's exit status (-1 if a signal ended it), and what it printed."""

    status: int
    out: str
    err: str


class Ssh:
    """A connection. check: called during waits; raises if the guest is in trouble."""

    def __init__(self, transport: paramiko.Transport, check: Callable[[], None]) -> None:
        self._transport = transport
        self._check = check

    @classmethod
    def connect(cls, port: int, keys: RunKeys, timeout_s: float, check: Callable[[], None]) -> Ssh:
        """Log in, as soon as the guest's server answers. Raises GuestTimeoutError, GuestError for a wrong host key."""
        patience = Patience(timeout_s)
        last: Exception | None = None
        while patience.step() > 0:
            try:
                return cls(_Login(port, keys, timeout_s).wait(patience, check), check)
            except paramiko.BadHostKeyException as error:
                raise GuestError(
                    f"the guest's host key is {error.key.fingerprint}, not that of its run", "do not trust it"
                ) from None
            except paramiko.AuthenticationException as error:
                raise GuestError(f"the guest refused the key of its run: {error}", "see its console") from None
            except _LOST as error:
                last = error
            time.sleep(_STEP_S)
        raise GuestTimeoutError(
            f"nobody could log in to the guest in {timeout_s:g} s: {last or 'no answer'}", "allow more time"
        )

    @property
    def alive(self) -> bool:
        """Whether the connection is there."""
        return self._transport.is_active()

    def run(self, command: str, timeout_s: float) -> CommandResult:
        """Run a command line in the guest's shell, and return its result. Raises GuestTimeoutError, GuestError."""
        with self._failing(f"the connection to the guest ended while it ran {command!a}"):
            channel = self._transport.open_session(timeout=timeout_s)
            with contextlib.closing(channel):
                channel.exec_command(command)
                return self._follow(channel, command, timeout_s)

    def put(self, source: Path, path: str) -> None:
        """Copy a file of this machine to a path in the guest. Raises GuestError."""
        with self._failing(f"{source} could not be copied to {path} of the guest"), self._sftp() as sftp:
            sftp.put(str(source), path)

    def get(self, path: str, target: Path) -> None:
        """Copy a file of the guest to this machine. Raises GuestError."""
        with self._failing(f"{path} of the guest could not be copied to {target}"), self._sftp() as sftp:
            sftp.get(path, str(target))

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def _follow(self, channel: paramiko.Channel, command: str, timeout_s: float) -> CommandResult:
        patience = Patience(timeout_s)
        out, err = bytearray(), bytearray()
        while True:
            # A result that is complete now has all its output in the channel.
            over = (channel.exit_status_ready() and channel.eof_received) or channel.closed
            while channel.recv_ready():
                out += channel.recv(_READ)
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(_READ)
            if len(out) + len(err) > _MAX_OUTPUT:
                raise GuestError(f"{command!a} printed more than {_MAX_OUTPUT >> 20} MiB", "have it write to a file")
            if over:
                status = channel.recv_exit_status()
                if status == _NO_STATUS:
                    # A lost connection ends its channels a moment before itself; a signal leaves it.
                    self._transport.join(_END_S)
                if status == _NO_STATUS and not self.alive:
                    raise EOFError("it was closed")
                return CommandResult(status, out.decode(errors="replace"), err.decode(errors="replace"))
            self._check()
            step_s = patience.step()
            if step_s <= 0:
                raise GuestTimeoutError(f"{command!a} did not end in {timeout_s:g} s", "allow more time")
            channel.status_event.wait(min(_STEP_S, step_s))

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Turn a lost connection, or a file that cannot be copied, into a GuestError that begins with `what`."""
        try:
            yield
        except _LOST as error:
            self._check()
            raise GuestError(f"{what}: {error or type(error).__name__}", "see its console") from None

    def _sftp(self) -> contextlib.closing[paramiko.SFTPClient]:
        client = paramiko.SFTPClient.from_transport(self._transport)
        if client is None:
            raise paramiko.SSHException("no SFTP")
        return contextlib.closing(client)


class _Login:
    """One attempt to log in, in a thread of its own, so that the caller sees a guest that crashes meanwhile."""

    def __init__(self, port: int, keys: RunKeys, timeout_s: float) -> None:
        self._port = port
        self._keys = keys
        self._timeout_s = timeout_s
        self._transport: paramiko.Transport | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="snp-ssh", daemon=True)

    def wait(self, patience: Patience, check: Callable[[], None]) -> paramiko.Transport:
        """Return an authenticated connection, whose host key is the run's. Raises paramiko's errors, OSError."""
        done = False
        self._thread.start()
        try:
            while self._thread.is_alive():
                check()
                if patience.step() <= 0:
                    raise TimeoutError("no answer")
                self._thread.join(_STEP_S)
            if self._error is not None:
                raise self._error
            assert self._transport is not None
            done = True
            return self._transport
        finally:
            if not done and self._transport is not None:
                self._transport.close()

    def _run(self) -> None:
        kind, _, blob = self._keys.host.public.partition(" ")
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), self._timeout_s)
            self._transport = transport = paramiko.Transport(connection)
            transport.set_log_channel(_LOG.name)
            transport.banner_timeout = min(_BANNER_S, self._timeout_s)
            transport.handshake_timeout = transport.auth_timeout = self._timeout_s
            transport.get_security_options().key_types = (kind,)
            transport.start_client(timeout=self._timeout_s)
            given = transport.get_remote_server_key()
            if (given.get_name(), given.get_base64()) != (kind, blob):
                raise paramiko.BadHostKeyException("the guest", given, given)
            private = io.StringIO(self._keys.client.private.decode())
            transport.auth_publickey(USER, paramiko.Ed25519Key(file_obj=private))
        except Exception as error:
            self._error = error
