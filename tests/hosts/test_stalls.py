# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that stops answering at each step of SSH's own exchange: no wait is without an end."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from snp_harness.errors import EXIT_ENVIRONMENT
from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostError
from snp_harness.hosts.inventory import find_host
from tests.hosts.sshd import account, find_sshd, make_key

#: The steps, each with what the error says of it.
STEPS = {
    "banner": "no SSH on",
    "key exchange": "no SSH on",
    "login": "refused user",
    "session": "lets nothing be run there",
    "command": "lets nothing be run there",
}


class Server(paramiko.ServerInterface):
    """Takes any key, and stops at a step until it may go on."""

    def __init__(self, step: str, go_on: threading.Event) -> None:
        self._step = step
        self._go_on = go_on

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._stop("login")
        # AUTH_SUCCESSFUL, as below.
        return 0

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._stop("session")
        # OPEN_SUCCEEDED, which the types that come from elsewhere lack.
        return 0

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._stop("command")
        return False

    def _stop(self, step: str) -> None:
        if step == self._step:
            self._go_on.wait()


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Starts a server that stops at a step; gives the host's URL."""
    find_sshd()
    (tmp_path / ".ssh").mkdir(mode=0o700)
    make_key(tmp_path / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    go_on = threading.Event()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def start(step: str) -> str:
            key = paramiko.PKey.from_path(make_key(tmp_path / "host_key"))
            port = server.getsockname()[1]
            known = f"[127.0.0.1]:{port} {key.get_name()} {base64.b64encode(key.asbytes()).decode()}\n"
            (tmp_path / ".ssh" / "known_hosts").write_text(known)

            def run() -> None:
                connection, _ = server.accept()
                stack.callback(connection.close)
                if step == "banner":
                    return
                if step == "key exchange":
                    with contextlib.suppress(OSError):
                        connection.sendall(b"SSH-2.0-stalls\r\n")
                    return
                transport = paramiko.Transport(connection)
                stack.callback(transport.close)
                transport.add_server_key(key)
                # On a busy machine the other side may be gone by then.
                with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                    transport.start_server(server=Server(step, go_on))

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            stack.callback(thread.join, 60)
            return f"ssh://{account()}@127.0.0.1:{port}"

        yield start
        go_on.set()


@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_stops_at(step: str, serve: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_STEP_S", 2.0)
    host = find_host(serve(step), lock=False)
    with pytest.raises(HostError) as caught:
        host.link()
    assert caught.value.exit_status >= EXIT_ENVIRONMENT
    # A machine that is busy may be too late at a step before.
    assert any(said in caught.value.message for said in list(STEPS.values())[: list(STEPS).index(step) + 1])
    assert "\n" not in str(caught.value)
