# SPDX-License-Identifier: GPL-2.0-or-later
"""Logging in over SSH with the user's keys: those of files, and those that an ssh-agent holds. Nobody is asked."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from snp_harness.hosts import known_hosts
from snp_harness.hosts.certificates import SUFFIX, certified_key
from snp_harness.hosts.host_errors import LoginError, words_of
from snp_harness.hosts.ssh_config import SshTarget
from snp_harness.vm.qemu_errors import printable

#: Seconds that an ssh-agent may take: it may ask its user for each key that it shall use.
AGENT_S = 60.0
_PUBLIC_MAX = 64 << 10


class KeyAgent(AgentSSH):
    """The ssh-agent at a socket. Raises OSError, paramiko.SSHException."""

    # The types that come from elsewhere lack them.
    _connect: Callable[[socket.socket], None]
    _close: Callable[[], None]

    def __init__(self, path: Path) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(AGENT_S)
        try:
            connection.connect(str(path))
            self._connect(connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._close()


def log_in(name: str, target: SshTarget, transport: paramiko.Transport) -> None:
    """Offer one key after the other. Raises LoginError that says which; no key's content is in it."""
    tried: list[str] = []
    agent: KeyAgent | None = None
    if target.agent is not None:
        try:
            agent = KeyAgent(target.agent)
        except (paramiko.SSHException, OSError) as error:
            tried.append(f"the ssh-agent at {target.agent} (does not answer: {words_of(error)})")
    if target.token_keys:
        tried.append("keys of PKCS11Provider (not supported: ssh-add -s adds them to the ssh-agent)")
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
    hint = "give it a key: ssh-copy-id, ssh-add, or IdentityFile in ~/.ssh/config"
    for what, key in keys:
        tried.append(what)
        began = time.monotonic()
        try:
            more = transport.auth_publickey(target.user, key)
        except paramiko.BadAuthenticationType as error:
            wanted = printable(", ".join(map(str, error.allowed_types)), 100)
            raise LoginError(f"{name} takes no keys, it wants {wanted}", "see the host's sshd_config") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            # A key that is refused leaves the connection as it is. What is not answered is no refusal.
            in_time = time.monotonic() - began < transport.auth_timeout
            if transport.is_active() and in_time and isinstance(error, paramiko.AuthenticationException):
                continue
            tried.append(f"then {words_of(error)}")
            if len(tried) > 2:
                hint = "if it allows no more tries: IdentityFile and IdentitiesOnly in ~/.ssh/config name the right one"
            break
        if not more:
            return
        raise LoginError(
            f"{name} wants more than a key: {printable(', '.join(more), 100)}", "use an account that does not"
        )
    raise LoginError(f"{name} refused user {target.user}: {', '.join(tried) or 'there is no key to offer'}", hint)


def _keys(
    target: SshTarget, agent: Sequence[paramiko.AgentKey], tried: list[str]
) -> Iterator[tuple[str, paramiko.PKey]]:
    """The keys to offer, each with its name. agent: the ssh-agent's. tried: is told of those that cannot be read."""
    offered: set[bytes] = set()
    for held in agent:
        if held.get_name().endswith(SUFFIX):
            # The library would offer the key in it alone, under the certificate's name.
            vars(held)["inner_key"] = None
    for path in target.identities:
        itself = _public(path)
        public = itself or _public(path.with_name(path.name + ".pub"))
        # The ssh-agent may hold a key whose file needs a passphrase.
        for held in agent:
            if public is not None and held.asbytes() == public:
                offered.add(public)
                yield f"{path} (ssh-agent)", held
        if not path.is_file() or (public is not None and public in offered):
            continue
        if itself is not None:
            tried.append(f"{path} (a public key, which the ssh-agent does not have)")
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
            for certificate in target.certificates:
                if _certified(certificate) == key.asbytes():
                    key.load_certificate(str(certificate))
            yield str(path), key
    if target.all_agent_keys:
        for held in agent:
            if held.asbytes() not in offered:
                yield f"ssh-agent {known_hosts.fingerprint(held.asbytes())}", held


def _certified(certificate: Path) -> bytes | None:
    """The key that a certificate's file is about, None if it is no such file."""
    try:
        fields = certificate.read_text(encoding="utf-8", errors="replace")[:_PUBLIC_MAX].split(None, 2)
        return certified_key(base64.b64decode(fields[1], validate=True))
    except (OSError, ValueError, IndexError):
        return None


def _public(path: Path) -> bytes | None:
    """The key that a file holds, if it is one of a public key."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_PUBLIC_MAX)
    except OSError:
        return None
    for found in known_hosts.parse([f"x {text}"]):
        # The key says again what it is, after the length of that.
        if found.key[4:].startswith(found.kind.encode()):
            return found.key
    return None


def _reason(error: BaseException) -> str:
    """What kind of error it is: what a parser of keys says could quote the key."""
    return error.strerror or "?" if isinstance(error, OSError) else type(error).__name__
