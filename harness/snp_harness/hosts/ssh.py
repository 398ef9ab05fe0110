# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over SSH: the agent's byte stream is an exec channel of one connection; no port is opened on either side.

The host's key must be known. ssh_config.py says where a host is, ssh_keys.py logs in; nothing asks a question.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import paramiko

from snp_harness.agent.mux import CLOSED
from snp_harness.errors import HarnessError, UsageError
from snp_harness.hosts import bundle, certificates, known_hosts
from snp_harness.hosts.host_errors import (
    HostError,
    HostKeyError,
    HostLostError,
    HostUnreachableError,
    NoPythonError,
    last_words,
    words_of,
)
from snp_harness.hosts.known_hosts import KnownKey, Standing
from snp_harness.hosts.link import PATIENCE_S
from snp_harness.hosts.remote import Connection, LockRequest, RemoteHost
from snp_harness.hosts.ssh_config import JUMPS_MAX, SshTarget, parse_url, resolve
from snp_harness.hosts.ssh_keys import log_in
from snp_harness.hosts.ssh_proxy import ProxyProcess
from snp_harness.launch.loop import Loop

#: Seconds that each step of SSH's own exchange may take.
_STEP_S = 60.0
#: Bytes that may be under way: more than a fast line holds.
_WINDOW = 16 << 20
_PACKET = 1 << 17
_RECEIVE = 1 << 18
#: Fast with the processor's AES; what a host may lack of these, it has of the others.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
#: Seconds until a channel that takes nothing is asked again.
_RETRY_S = 0.005
_SAID_MAX = 64 << 10
#: Seconds that the exit status may take to come after the end of the stream.
_STATUS_S = 30.0
#: Characters of its last line that are shown.
_LAST_MAX = 400
#: What a login shell ends with that does not find the program.
_NOT_FOUND = 127
_PYTHON = re.compile(r"[A-Za-z0-9_./+-]{1,200}\Z")
# The library logs what it also raises: without a handler of the application's that would go to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class ChannelPort:
    """An exec channel as a byte stream (snp_harness.agent.mux.Port). said: the end of what came on stderr."""

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

    def watch_writable(self, loop: Loop, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        """See Port. The library does not tell; the window is seldom empty."""
        loop.later(_RETRY_S, writable)

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

    transport: to the host. way: what is closed with it, the last one first.
    """

    def __init__(
        self, name: str, transport: paramiko.Transport, way: contextlib.ExitStack, python: str, *, sudo: bool = False
    ) -> None:
        self._name = name
        self._python = python
        self._way = way
        self.transport = transport
        late = threading.Event()

        def give_up() -> None:
            late.set()
            transport.close()

        # The library waits without end for the answer to a command.
        timer = threading.Timer(_STEP_S, give_up)
        timer.daemon = True
        try:
            self._channel = transport.open_session(window_size=_WINDOW, max_packet_size=_PACKET, timeout=_STEP_S)
            timer.start()
            self._channel.exec_command(bundle.command(python, sudo=sudo))
            self._stream = ChannelPort(self._channel)
            self.port = self._stream
        except (paramiko.SSHException, OSError, EOFError) as error:
            why = f"it did not answer in {_STEP_S:g} s" if late.is_set() else words_of(error)
            raise HostError(f"{name} lets nothing be run there: {why}", "see the host's sshd_config") from None
        finally:
            timer.cancel()

    def explain(self, why: str) -> HarnessError:
        """See Connection."""
        # The exit status comes after the end of the stream, if the host still speaks.
        ended = why.startswith(CLOSED) and self._channel.status_event.wait(_STATUS_S)
        status = self._channel.exit_status if ended else -1
        said = last_words(self._stream.said(), _LAST_MAX)
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
            return HostLostError(f"the harness's agent on {self._name} {how}{said}", "see the host's log")
        cause = self.transport.get_exception()
        detail = f" ({words_of(cause)})" if cause is not None and str(cause) else f" ({why})"
        return HostLostError(f"the connection to {self._name} was lost{detail}", "see the network and the host's sshd")

    def close(self) -> None:
        """See Connection."""
        self._way.close()


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
        target = resolve(self._address, known_hosts=self._known_hosts_file, identity=self._identity)
        with contextlib.ExitStack() as way:
            transport: paramiko.Transport | None = None
            for step in (*_way(target), target):
                name = self.name if step is target else f"{self.name}, by way of {step.host}"
                transport = _start(name, step, transport, way)
                log_in(name, step, transport)
            assert transport is not None
            return SshConnection(self.name, transport, way.pop_all(), self._python, sudo=self._sudo)


def _way(target: SshTarget, depth: int = 0) -> Iterator[SshTarget]:
    """The hosts on the way to one. As ssh does, the first one's own way is gone before it, the others' is not."""
    if depth > JUMPS_MAX:
        raise UsageError("ssh's configuration has jumps that go in a circle", "see ProxyJump there")
    for number, jump in enumerate(target.jumps):
        step = resolve(jump)
        if number == 0:
            yield from _way(step, depth + 1)
        yield step


def _close(transport: paramiko.Transport) -> None:
    with contextlib.suppress(Exception):
        transport.close()


def _start(
    name: str, target: SshTarget, before: paramiko.Transport | None, way: contextlib.ExitStack
) -> paramiko.Transport:
    """A connection on which keys were exchanged, with the host that is meant. before: to the host to go through.

    way: closes what was opened.
    """
    describe: Callable[[], str] = str
    connection: socket.socket | paramiko.Channel
    if before is not None:
        connection = _connect_by(name, target, before)
    elif target.proxy:
        proxy = ProxyProcess(name, target.proxy)
        way.callback(proxy.close)
        connection, describe = proxy.connection, proxy.describe
    else:
        connection = _connect(name, target)
    # A transport that has not been started leaves it open.
    way.callback(connection.close)
    transport = paramiko.Transport(connection, default_window_size=_WINDOW, default_max_packet_size=_PACKET)
    way.callback(_close, transport)
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = _STEP_S
    try:
        keys = known_hosts.read(target.known_hosts)
        key_name = target.key_name or known_hosts.host_name(target.host, target.port)
        _choose_algorithms(transport, target, keys, key_name)
        transport.start_client(timeout=_STEP_S)
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, OSError, EOFError) as error:
        detail = "; ".join(filter(None, (words_of(error), describe())))
        raise HostUnreachableError(
            f"{name}: no SSH on {target.host} port {target.port}: {detail}", "see the port, and sshd there"
        ) from None
    _verify(name, target, keys, key_name, key)
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
            f"{name}: {where} cannot be reached from the host before it: {words_of(error)}",
            "see the port, sshd there, and AllowTcpForwarding on the host before it",
        ) from None


def _connect(name: str, target: SshTarget) -> socket.socket:
    """A TCP connection."""
    where = f"{target.host} port {target.port}"
    try:
        connection = _open(target)
    except socket.gaierror as error:
        raise HostUnreachableError(f"{name}: no address for {target.host}: {error.strerror}", "see its name") from None
    except UnicodeError:
        # A label of no bytes, or of more than 63.
        raise HostUnreachableError(f"{name}: no address for {target.host}: no name is like that", "see it") from None
    except ConnectionRefusedError:
        raise HostUnreachableError(f"{name}: {where} refuses connections", "see the port, and sshd there") from None
    except TimeoutError:
        raise HostUnreachableError(
            f"{name}: {where} did not answer in {target.connect_s:g} s", "see the network"
        ) from None
    except OSError as error:
        raise HostUnreachableError(f"{name}: {where} cannot be reached: {error.strerror}", "see the network") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What the other side does not acknowledge for so long breaks the connection, whatever waits for it.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(PATIENCE_S * 1000))
    return connection


def _open(target: SshTarget) -> socket.socket:
    """The first address that answers. Raises OSError, of the last one."""
    failure = OSError(0, "it has no address")
    for family, kind, _, _, address in socket.getaddrinfo(target.host, target.port, target.family, socket.SOCK_STREAM):
        connection = socket.socket(family, kind)
        try:
            connection.settimeout(target.connect_s)
            if target.bind is not None:
                connection.bind((target.bind, 0))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _choose_algorithms(transport: paramiko.Transport, target: SshTarget, keys: list[KnownKey], key_name: str) -> None:
    """Ask for what is fast, for the types of key that are known of the host, and for nothing that ssh would not."""
    options = transport.get_security_options()

    def allowed(keyword: str, names: Iterable[str]) -> list[str]:
        wanted = target.algorithms.get(keyword)
        chosen = [name for name in names if wanted is None or name in wanted]
        if not chosen:
            raise UsageError(
                f"ssh's configuration of {target.host} allows no {keyword} that can be had",
                f"there are {', '.join(names)}",
            )
        return chosen

    options.ciphers = allowed("ciphers", [cipher for cipher in _CIPHERS if cipher in options.ciphers])
    options.digests = allowed("macs", options.digests)
    options.kex = allowed("kexalgorithms", options.kex)
    # Asked for another type of key than the one that is known, the host would look like another.
    known = [kind for known in known_hosts.kinds(keys, key_name) for kind in _algorithms(known)]
    types = sorted(options.key_types, key=lambda kind: known.index(kind) if kind in known else len(known))
    if known_hosts.has_authority(keys, key_name):
        types = [*(kind + certificates.SUFFIX for kind in types), *types]
    options.key_types = allowed("hostkeyalgorithms", types)


def _verify(name: str, target: SshTarget, keys: list[KnownKey], key_name: str, key: paramiko.PKey) -> None:
    """The key is the one that the host is known to have, or an authority vouches for it. Raises HostKeyError."""
    standing, place = known_hosts.judge(keys, key_name, key.asbytes())
    shown = f"{key.get_name()} {known_hosts.fingerprint(key.asbytes())}"
    certificate = key.public_blob.key_blob if key.public_blob is not None else None
    if certificate is not None and standing in (Standing.UNKNOWN, Standing.CHANGED):
        authority = certificates.authority_of(keys, key_name, certificate)
        if authority is not None:
            why = certificates.fault(certificate, key.asbytes(), target.key_name or target.host)
            if not why:
                return
            raise HostKeyError(
                f"{name}: the certificate of {key_name} by the authority of {authority.place} is refused: {why}",
                "see it on the host with ssh-keygen -L -f",
            )
    if standing is Standing.KNOWN:
        return
    if standing is Standing.UNKNOWN:
        files = ", ".join(str(path) for path in target.known_hosts[:2])
        command = "; KnownHostsCommand is not run" if target.keys_by_command else ""
        raise HostKeyError(
            f"{name}: the key of {key_name} is not known: {shown}",
            f"compare it with the host's, then let ssh write it to {files}{command}",
        )
    if standing is Standing.CHANGED:
        raise HostKeyError(
            f"{name}: the key of {key_name} has CHANGED: it shows {shown}, and {place} has another",
            "somebody may be in between; if the host was set up anew, remove that line",
        )
    # Whatever else it is, it is not known.
    raise HostKeyError(f"{name}: the key of {key_name} is revoked: {shown}, by {place}", "do not use the host")


def _algorithms(kind: str) -> tuple[str, ...]:
    """What to ask for to be shown a key of that type."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
