# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over SSH: the agent's byte stream is an exec channel of one connection; no port is opened on either side.

The host's key must be known. Keys come from the ssh-agent and from files; there are no passwords and no questions.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paramiko

from harness.agent.mux import CLOSED
from harness.agent.reactor import Reactor
from harness.errors import HarnessError, UsageError
from harness.hosts import bundle, known_hosts
from harness.hosts.errors import (
    HostError,
    HostKeyError,
    HostLostError,
    HostUnreachableError,
    LoginError,
    NoPythonError,
)
from harness.hosts.known_hosts import Standing
from harness.hosts.link import PATIENCE_S
from harness.hosts.remote import Connection, LockRequest, RemoteHost
from harness.hosts.ssh_config import JUMPS_MAX, SshTarget, parse_url, read_config, resolve
from harness.vm.errors import printable

CONNECT_S = 15.0
#: Seconds that each step of SSH's own exchange may take.
_STEP_S = 20.0
#: Bytes that may be under way: more than a fast line holds.
_WINDOW = 16 << 20
_PACKET = 1 << 17
_RECEIVE = 1 << 18
#: Fast with the processor's AES; what a host may lack of these, it has of the others.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
#: Seconds until a channel that takes nothing is asked again.
_RETRY_S = 0.005
_SAID_MAX = 64 << 10
#: What a login shell ends with that does not find the program.
_NOT_FOUND = 127
_PYTHON = re.compile(r"[A-Za-z0-9_./+-]{1,200}\Z")
# The library logs what it also raises: without a handler of the application's that would go to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class ChannelPort:
    """An exec channel as a byte stream (harness.agent.mux.Port). said: the end of what came on stderr."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._said: collections.deque[bytes] = collections.deque()
        self._fd = channel.fileno()

    def fileno(self) -> int:
        """See Port."""
        return self._fd

    def read(self) -> bytes | None:
        """See Port."""
        self._read_stderr()
        try:
            return self._channel.recv(_RECEIVE)
        except TimeoutError:
            return None

    def write(self, data: memoryview) -> int:
        """See Port. The channel takes a packet at once; this is the only one that writes to it."""
        taken = 0
        while taken < len(data) and self._channel.send_ready():
            sent = self._channel.send(bytes(data[taken : taken + _PACKET]))
            if not sent:
                raise ConnectionResetError("the channel is closed")
            taken += sent
        if self._channel.closed:
            raise ConnectionResetError("the channel is closed")
        return taken

    def watch_writable(self, reactor: Reactor, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        """See Port. The library does not tell; the window is seldom empty."""
        reactor.later(_RETRY_S, writable)

    def said(self) -> str:
        """The end of what the host wrote to stderr."""
        self._read_stderr()
        return b"".join(self._said).decode(errors="replace").strip()

    def _read_stderr(self) -> None:
        with contextlib.suppress(TimeoutError):
            while self._channel.recv_stderr_ready():
                self._said.append(self._channel.recv_stderr(_RECEIVE))
                while sum(map(len, self._said)) > _SAID_MAX and len(self._said) > 1:
                    self._said.popleft()


class SshConnection(Connection):
    """A connection that is logged in, with the agent about to start on it.

    transports: to the hosts on the way, if any, and at last to the host. They are closed with it.
    """

    def __init__(self, name: str, transports: Sequence[paramiko.Transport], python: str, *, sudo: bool = False) -> None:
        self._name = name
        self._python = python
        self._transports = transports
        self.transport = transports[-1]
        try:
            self._channel = self.transport.open_session(window_size=_WINDOW, max_packet_size=_PACKET, timeout=_STEP_S)
            self._channel.exec_command(bundle.command(python, sudo=sudo))
            self._stream = ChannelPort(self._channel)
            self.port = self._stream
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostError(
                f"{name} lets nothing be run there: {_words(error)}", "see the host's sshd_config"
            ) from None

    def explain(self, why: str) -> HarnessError:
        """See Connection."""
        # The exit status comes after the end of the stream, if the host still speaks.
        ended = why.startswith(CLOSED) and self._channel.status_event.wait(2.0)
        status = self._channel.exit_status if ended else -1
        said = self._stream.said().splitlines()
        last = printable(said[-1], 400) if said else ""
        if status == _NOT_FOUND:
            return NoPythonError(
                f"{self._name} has no {self._python}",
                "install Python 3.9 or newer there, or name another in hosts.toml",
            )
        if status == bundle.EXIT_OLD_PYTHON:
            return NoPythonError(
                f"{self._python} on {self._name} is too old", "install Python 3.9 or newer there, or name another"
            )
        if ended and self.transport.is_active():
            how = f"ended with status {status}" if status >= 0 else "was killed"
            tail = f", its last words: {last}" if last else ""
            return HostLostError(f"the harness's agent on {self._name} {how}{tail}", "see the host's log")
        cause = self.transport.get_exception()
        detail = f" ({_words(cause)})" if cause is not None and str(cause) else f" ({why})"
        return HostLostError(f"the connection to {self._name} was lost{detail}", "see the network and the host's sshd")

    def close(self) -> None:
        """See Connection."""
        _close(self._transports)


class SshHost(RemoteHost):
    """A host of an ssh:// URL. python: the interpreter there. sudo: the agent runs as root. See RemoteHost."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        qemu_path: Path | None = None,
        lock: LockRequest | None = None,
        python: str = "python3",
        sudo: bool = False,
        known_hosts_file: Path | None = None,
        identity: Path | None = None,
    ) -> None:
        super().__init__(name, qemu_path, lock)
        self._address = parse_url(url)
        if not _PYTHON.match(python) or python.startswith("-"):
            raise UsageError(f"{python!a} is no name of a Python", "give a name, or a path without blanks")
        self._python = python
        self._sudo = sudo
        self._known_hosts_file = known_hosts_file
        self._identity = identity

    def connect(self) -> SshConnection:
        """See RemoteHost. Raises HostUnreachableError, HostKeyError, LoginError, HostError, UsageError."""
        config = read_config()
        target = resolve(self._address, config=config, known_hosts=self._known_hosts_file, identity=self._identity)
        transports: list[paramiko.Transport] = []
        try:
            for step in (*_way(target, config), target):
                name = self.name if step is target else f"{self.name}, by way of {step.host}"
                transports.append(_open_transport(name, step, transports[-1] if transports else None))
                _start(name, step, transports[-1])
                _log_in(name, step, transports[-1])
            return SshConnection(self.name, transports, self._python, sudo=self._sudo)
        except BaseException:
            _close(transports)
            raise


def _close(transports: Sequence[paramiko.Transport]) -> None:
    """Close them, the last one first: it goes through the others."""
    for transport in reversed(transports):
        with contextlib.suppress(Exception):
            transport.close()


def _way(target: SshTarget, config: paramiko.SSHConfig | None, depth: int = 0) -> Iterator[SshTarget]:
    """The hosts on the way to one. As ssh does, the first one's own way is gone before it, the others' is not."""
    if depth > JUMPS_MAX:
        raise UsageError("~/.ssh/config has jumps that go in a circle", "see ProxyJump there")
    for number, jump in enumerate(target.jumps):
        step = resolve(jump, config=config)
        if number == 0:
            yield from _way(step, config, depth + 1)
        yield step


def _open_transport(name: str, target: SshTarget, way: paramiko.Transport | None) -> paramiko.Transport:
    """A connection on which nothing was said yet. way: the connection to a host to go through, None to go directly."""
    connection = _connect(name, target) if way is None else _connect_by(name, target, way)
    transport = paramiko.Transport(connection, default_window_size=_WINDOW, default_max_packet_size=_PACKET)
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = _STEP_S
    return transport


def _connect_by(name: str, target: SshTarget, way: paramiko.Transport) -> paramiko.Channel:
    """A connection that another host makes."""
    where = f"{target.host} port {target.port}"
    try:
        return way.open_channel(
            "direct-tcpip",
            (target.host, target.port),
            ("127.0.0.1", 0),
            window_size=_WINDOW,
            max_packet_size=_PACKET,
            timeout=_STEP_S,
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise HostUnreachableError(
            f"{name}: {where} cannot be reached from the host before it: {_words(error)}",
            "see the port, sshd there, and AllowTcpForwarding on the host before it",
        ) from None


def _connect(name: str, target: SshTarget) -> socket.socket:
    """A TCP connection."""
    where = f"{target.host} port {target.port}"
    try:
        connection = socket.create_connection((target.host, target.port), CONNECT_S)
    except socket.gaierror as error:
        raise HostUnreachableError(f"{name}: no address for {target.host}: {error.strerror}", "see its name") from None
    except ConnectionRefusedError:
        raise HostUnreachableError(f"{name}: {where} refuses connections", "see the port, and sshd there") from None
    except TimeoutError:
        raise HostUnreachableError(f"{name}: {where} did not answer in {CONNECT_S:g} s", "see the network") from None
    except OSError as error:
        raise HostUnreachableError(f"{name}: {where} cannot be reached: {error.strerror}", "see the network") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What the other side does not acknowledge for so long breaks the connection, whatever waits for it.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(PATIENCE_S * 1000))
    return connection


def _start(name: str, target: SshTarget, transport: paramiko.Transport) -> None:
    """Exchange keys, and verify whom it is with."""
    keys = known_hosts.read(target.known_hosts)
    key_name = target.key_name or known_hosts.host_name(target.host, target.port)
    options = transport.get_security_options()
    options.ciphers = [cipher for cipher in _CIPHERS if cipher in options.ciphers]
    # Asked for another type of key than the one that is known, the host would look like another.
    wanted = [kind for known in known_hosts.kinds(keys, key_name) for kind in _algorithms(known)]
    preferred = [kind for kind in dict.fromkeys(wanted) if kind in options.key_types]
    options.key_types = [*preferred, *(kind for kind in options.key_types if kind not in preferred)]
    try:
        transport.start_client(timeout=_STEP_S)
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise HostUnreachableError(
            f"{name}: no SSH on {target.host} port {target.port}: {_words(error)}", "see the port, and sshd there"
        ) from None
    standing, place = known_hosts.judge(keys, key_name, key.asbytes())
    shown = f"{key.get_name()} {known_hosts.fingerprint(key.asbytes())}"
    if standing is Standing.UNKNOWN:
        files = ", ".join(str(path) for path in target.known_hosts[:2])
        raise HostKeyError(
            f"{name}: the key of {key_name} is not known: {shown}",
            f"compare it with the host's, then let ssh write it to {files}",
        )
    if standing is Standing.CHANGED:
        raise HostKeyError(
            f"{name}: the key of {key_name} has CHANGED: it shows {shown}, and {place} has another",
            "somebody may be in between; if the host was set up anew, remove that line",
        )
    if standing is Standing.REVOKED:
        raise HostKeyError(f"{name}: the key of {key_name} is revoked: {shown}, by {place}", "do not use the host")


def _log_in(name: str, target: SshTarget, transport: paramiko.Transport) -> None:
    """Offer one key after the other. Raises LoginError that says which; no key's content is in it."""
    tried: list[str] = []
    agent = _ssh_agent()
    try:
        _offer(name, target, transport, _keys(target, list(agent.get_keys()) if agent else [], tried), tried)
    finally:
        if agent is not None:
            agent.close()


def _offer(
    name: str,
    target: SshTarget,
    transport: paramiko.Transport,
    keys: Iterator[tuple[str, paramiko.PKey]],
    tried: list[str],
) -> None:
    for what, key in keys:
        tried.append(what)
        try:
            more = transport.auth_publickey(target.user, key)
        except paramiko.BadAuthenticationType as error:
            wanted = printable(", ".join(map(str, error.allowed_types)), 100)
            raise LoginError(f"{name} takes no keys, it wants {wanted}", "see the host's sshd_config") from None
        except paramiko.AuthenticationException:
            continue
        except (paramiko.SSHException, OSError, EOFError) as error:
            tried.append(f"then {_words(error)}")
            break
        if not more:
            return
        raise LoginError(
            f"{name} wants more than a key: {printable(', '.join(more), 100)}", "use an account that does not"
        )
    raise LoginError(
        f"{name} refused user {target.user}: {', '.join(tried) or 'there is no key to offer'}",
        "give it a key: ssh-copy-id, ssh-add, or IdentityFile in ~/.ssh/config",
    )


def _ssh_agent() -> paramiko.Agent | None:
    """The user's ssh-agent, None if there is none that answers."""
    with contextlib.suppress(paramiko.SSHException, OSError):
        return paramiko.Agent()
    return None


def _keys(target: SshTarget, agent: list[paramiko.AgentKey], tried: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    """The keys to offer, each with its name. agent: the ssh-agent's. tried: is told of those that cannot be read."""
    offered: set[bytes] = set()
    for path in target.identities:
        public = _public(path)
        # The ssh-agent may hold a key whose file needs a passphrase.
        for held in agent:
            if public is not None and held.asbytes() == public:
                offered.add(public)
                yield f"{path} (ssh-agent)", held
        if not path.is_file() or (public is not None and public in offered):
            continue
        try:
            key = paramiko.PKey.from_path(path)
        # The second is what cryptography raises, which the library lets through.
        except (paramiko.PasswordRequiredException, TypeError):
            tried.append(f"{path} (has a passphrase: ssh-add it)")
        except (paramiko.SSHException, OSError, ValueError) as error:
            tried.append(f"{path} (cannot be read: {_reason(error)})")
        else:
            offered.add(key.asbytes())
            yield str(path), key
    if target.all_agent_keys:
        for held in agent:
            if held.asbytes() not in offered:
                yield f"ssh-agent {known_hosts.fingerprint(held.asbytes())}", held


def _public(path: Path) -> bytes | None:
    """The public key beside a private one."""
    try:
        text = path.with_name(path.name + ".pub").read_text(encoding="utf-8", errors="replace")[: 64 << 10]
    except OSError:
        return None
    return next((key.key for key in known_hosts.parse([f"x {text}"])), None)


def _algorithms(kind: str) -> tuple[str, ...]:
    """What to ask for to be shown a key of that type."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _reason(error: BaseException) -> str:
    """What kind of error it is: what a parser of keys says could quote the key."""
    return error.strerror or "?" if isinstance(error, OSError) else type(error).__name__


def _words(error: BaseException) -> str:
    """What an error of the library's says, in a line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(text or type(error).__name__, 200)
