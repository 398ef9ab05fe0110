# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a guest, with a server of paramiko's own in its place."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator

import paramiko
import pytest

from snp_harness.guest.guest_errors import GuestError, GuestTimeoutError
from snp_harness.guest.ssh import Ssh
from snp_harness.tools.linux_guest.keys import KeyPair, RunKeys
from snp_harness.tools.linux_guest.launch import forwarded_port

WAIT_S = 20.0
ANSWER_S = 0.05
USERNET = """Hub -1 (linux-net):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  14       127.0.0.1 40123       10.0.2.15    22     0     0
"""


def private(pair: KeyPair) -> paramiko.PKey:
    return paramiko.Ed25519Key(file_obj=io.StringIO(pair.private.decode()))


class Server(paramiko.ServerInterface):
    """Runs the commands that the tests know. keys: the guest's."""

    def __init__(self, keys: RunKeys) -> None:
        self._keys = keys
        self._commands: dict[bytes, Callable[[paramiko.Channel], None]] = {
            b"both": self._both,
            b"much": lambda channel: self._end(channel, b"x" * 300_000, b"", 0),
            b"sleep": lambda _: None,
            b"die": lambda channel: channel.get_transport().close(),
        }

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == "root" and f"{key.get_name()} {key.get_base64()}" == self._keys.client.public
        return paramiko.common.AUTH_SUCCESSFUL if right else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        # After the answer to the request, which follows this call.
        threading.Timer(ANSWER_S, self._commands[command], (channel,)).start()
        return True

    def _both(self, channel: paramiko.Channel) -> None:
        channel.sendall_stderr(b"to stderr\n")
        self._end(channel, "ä\n".encode(), b"", 3)

    def _end(self, channel: paramiko.Channel, out: bytes, err: bytes, status: int) -> None:
        channel.sendall(out)
        channel.sendall_stderr(err)
        channel.send_exit_status(status)
        channel.shutdown_write()
        channel.close()


@pytest.fixture
def keys() -> RunKeys:
    return RunKeys()


@pytest.fixture
def port(keys: RunKeys) -> Iterator[int]:
    """The port of the server. The first connection ends without a word, as before a guest's server has started."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        started: list[paramiko.Transport] = []

        def serve() -> None:
            listening.accept()[0].close()
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                transport = paramiko.Transport(connection)
                transport.add_server_key(private(keys.host))
                started.append(transport)
                try:
                    transport.start_server(server=Server(keys))
                except (paramiko.SSHException, EOFError, ConnectionError):
                    transport.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        for transport in started:
            transport.close()


def nothing() -> None:
    """The guest is well."""


def connect(port: int, keys: RunKeys) -> Ssh:
    return Ssh.connect(port, keys, WAIT_S, nothing)


def test_commands(port: int, keys: RunKeys) -> None:
    ssh = connect(port, keys)
    assert ssh.run("both", WAIT_S) == (3, "ä\n", "to stderr\n")
    assert len(ssh.run("much", WAIT_S).out) == 300_000
    with pytest.raises(GuestTimeoutError, match=r"'sleep' did not end in 0.3 s"):
        ssh.run("sleep", 0.3)
    assert ssh.run("both", WAIT_S).status == 3
    with pytest.raises(GuestError, match="ended while it ran 'die'"):
        ssh.run("die", WAIT_S)
    assert not ssh.alive


def test_a_guest_in_trouble_ends_a_command(port: int, keys: RunKeys) -> None:
    well = threading.Event()

    def check() -> None:
        if well.is_set():
            raise GuestError("it crashed", "")

    ssh = Ssh.connect(port, keys, WAIT_S, check)
    well.set()
    with pytest.raises(GuestError, match="it crashed"):
        ssh.run("sleep", WAIT_S)
    ssh.close()


def test_another_guests_key_is_refused(port: int, keys: RunKeys) -> None:
    other = RunKeys(client=keys.client)
    with pytest.raises(GuestError, match="not that of its run"):
        connect(port, other)


def test_another_client_is_refused(port: int, keys: RunKeys) -> None:
    with pytest.raises(GuestError, match="refused the key"):
        connect(port, RunKeys(host=keys.host))


def test_nobody_answers(keys: RunKeys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(GuestTimeoutError, match=r"in 0.5 s"):
        Ssh.connect(listening.getsockname()[1], keys, 0.5, nothing)


def test_forwarded_port() -> None:
    assert forwarded_port(USERNET) == 40123
    assert forwarded_port(USERNET.replace("127.0.0.1", "0.0.0.0")) is None
