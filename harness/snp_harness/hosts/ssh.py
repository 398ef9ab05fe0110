# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over SSH: OpenSSH's `ssh` runs there the command that reads the agent; no port is opened on either side.

`ssh` reads the user's configuration, keys, agents and known_hosts. Only what must not depend on them is set here: the
host's key is verified, nobody is asked, and nothing but the byte stream is carried.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from snp_harness.agent.mux import CLOSED
from snp_harness.errors import BrokenEnvironmentError, HarnessError, UsageError
from snp_harness.hosts import bundle
from snp_harness.hosts.host_errors import (
    HostKeyError,
    HostLostError,
    HostUnreachableError,
    LoginError,
    NoPythonError,
)
from snp_harness.hosts.process_connection import LINE_MAX, ProcessConnection
from snp_harness.hosts.remote import LockRequest, RemoteHost
from snp_harness.hosts.ssh_url import SshAddress, parse_url
from snp_harness.launch.patience import Patience
from snp_harness.vm.qemu_errors import describe_status, printable

PROGRAM = "ssh"
#: Seconds from the start of ssh to a shell on the host. A key may wait for its user's touch on the way.
LOGIN_S = 120.0
#: What does not depend on the user's configuration: ssh uses the first value that it reads of a keyword.
_OPTIONS = {
    # An unknown or changed key is an error, whatever the configuration says, and known_hosts is only read.
    "StrictHostKeyChecking": "yes",
    "NoHostAuthenticationForLocalhost": "no",
    "VerifyHostKeyDNS": "no",
    "UpdateHostKeys": "no",
    # No question is asked.
    "BatchMode": "yes",
    # A connection that its user shares is used; this one would stay behind as the one that others use.
    "ControlMaster": "no",
    # The agent's command and the byte stream are all that there is.
    "RemoteCommand": "none",
    "ClearAllForwardings": "yes",
    "LogLevel": "INFO",
    # Seconds to connect, and seconds and times of silence after which ssh ends by itself.
    "ConnectTimeout": "30",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}
#: No terminal, no ssh-agent and no display for the host.
_FLAGS = ("-T", "-a", "-x")
#: Seconds that ssh may take to end when its byte stream was closed.
_END_S = 1.0
#: Seconds that ssh may take to read its configuration: a Match line may run a program.
_CONFIGURATION_S = 60.0
#: What ssh ends with when it has failed, and when the program there was killed.
_SSH_FAILED = 255
#: What a login shell ends with that does not find the program.
_NOT_FOUND = 127
_PYTHON = re.compile(r"[A-Za-z0-9_./+-]{1,200}\Z")
#: Characters of a path that ssh_config(5) gives no way to write.
_UNWRITABLE = re.compile(r'["\\\n\r]|\$\{')

_LET_SSH_ADD = "compare its key with the host's own, then let ssh add it to known_hosts: ssh {address}"
_SEE_SSHD = "see the port, and sshd there"
#: What ssh writes when it does not get as far as a shell, the error that it is, and what to do. The first that fits.
_FAILURES: Sequence[tuple[str, type[HarnessError], str]] = (
    (
        r"key for .* has changed",
        HostKeyError,
        "somebody may be in between; if the host was set up anew, remove that line",
    ),
    (r"was revoked|is marked as revoked", HostKeyError, "do not use the host"),
    (r"host key is known for", HostKeyError, _LET_SSH_ADD),
    (r"Host key verification failed", HostKeyError, _LET_SSH_ADD),
    (
        r"Too many authentication failures",
        LoginError,
        "IdentityFile and IdentitiesOnly in ssh's configuration name the right key",
    ),
    (
        r"Permission denied \(",
        LoginError,
        "see ssh -v {address}; a key must be authorized there (ssh-copy-id), one with a passphrase in an ssh-agent",
    ),
    (r"Could not resolve hostname", HostUnreachableError, "see its name, and HostName in ssh's configuration"),
    (r"administratively prohibited", HostUnreachableError, "see AllowTcpForwarding on the host before it"),
    (r"Connection refused", HostUnreachableError, _SEE_SSHD),
    (r"timed out|No route to host|Network is unreachable", HostUnreachableError, "see the network"),
    (r"no matching .* found", HostUnreachableError, "see the algorithms in ssh's configuration, and in sshd's there"),
    (
        r"kex_exchange_identification|banner|Connection (?:closed|reset)|Received disconnect",
        HostUnreachableError,
        _SEE_SSHD,
    ),
)
#: Lines that say more of a failure.
_DETAIL = re.compile(r"Offending |Certificate |Load key |sign_and_send_pubkey: |no such identity: ")
#: Lines that ssh also writes when nothing fails.
_WARNING = re.compile(r"\*\* |.* (?:Unsupported|Deprecated) option ")
#: What ssh writes when a connection breaks that was in use.
_BROKEN = re.compile(
    r"Connection (?:to|closed|reset)|client_loop: |Timeout, server|Received disconnect|Disconnected from"
    r"|ssh_|mux_client|Control master|.*Broken pipe"
)


class SshConnection(ProcessConnection):
    """A running `ssh`. name: of the host. argv: the command; the host writes something when its shell runs."""

    def __init__(self, name: str, address: SshAddress, argv: Sequence[str], python: str) -> None:
        self._name = name
        self._address = address
        self._python = python
        self._logged_in = False
        # The ssh of a host on the way does not know of BatchMode.
        environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
        super().__init__(argv, end_s=_END_S, dies=True, environment=environment)

    def wait_for_shell(self, timeout_s: float) -> None:
        """Wait until something comes from the host. Raises what `explain` returns, HostUnreachableError."""
        patience = Patience(timeout_s)
        poll = select.poll()
        poll.register(self.port.fileno(), select.POLLIN)
        while (step_s := patience.step()) > 0:
            if poll.poll(step_s * 1000):
                if self._socket.recv(1, socket.MSG_PEEK):
                    self._logged_in = True
                    return
                raise self.explain(CLOSED)
        raise HostUnreachableError(
            f"{self._name}: no shell there in {timeout_s:g} s{self.last_words()}",
            f"see where it stops: ssh -v {self._address}",
        )

    def stderr(self) -> list[str]:
        """See ProcessConnection. Without warnings that do not concern a failure."""
        return [line.rstrip(".") for line in super().stderr() if not _WARNING.match(line)]

    def explain(self, why: str) -> HarnessError:
        """The error of a connection that was lost."""
        status = self.status(why)
        if status == _NOT_FOUND:
            return NoPythonError(
                f"{self._name} has no {self._python}",
                "install Python 3.9 or newer there, or name another in hosts.toml",
            )
        if status == bundle.EXIT_OLD_PYTHON:
            return NoPythonError(
                f"{self._python} on {self._name} is too old", "install Python 3.9 or newer there, or name another"
            )
        if status == _SSH_FAILED and not self._logged_in:
            return self._failure()
        said = (self.stderr() or [""])[-1]
        if status is None or status < 0 or (status == _SSH_FAILED and _BROKEN.match(said)):
            how = why if status is None else f"ssh ended with {describe_status(status)}" if status < 0 else said
            return HostLostError(
                f"the connection to {self._name} was lost ({printable(how, LINE_MAX)})",
                "see the network and the host's sshd",
            )
        how = "was killed" if status == _SSH_FAILED else f"ended with status {status}"
        hint = "sudo must work without a password there" if "sudo:" in said else "see the host's log"
        return HostLostError(f"the harness's agent on {self._name} {how}{self.last_words()}", hint)

    def _failure(self) -> HarnessError:
        """Why there is no shell, from what ssh has written."""
        lines = self.stderr()
        for pattern, kind, hint in _FAILURES:
            at = next((at for at, line in enumerate(lines) if re.search(pattern, line)), None)
            if at is not None:
                # A program on the way has written why just before.
                causes = lines[at - 1 : at] if kind is HostUnreachableError else []
                more = next(iter([*filter(_DETAIL.match, lines[:at]), *causes]), "")
                message = printable(f"{lines[at]} ({more})" if more else lines[at], 2 * LINE_MAX)
                return kind(f"{self._name}: {message}", hint.format(address=self._address))
        return _configuration_error(self._address) or HostUnreachableError(
            f"{self._name}: ssh failed{self.last_words()}", f"see ssh -v {self._address}"
        )


class SshHost(RemoteHost):
    """A host of an ssh:// URL. python: the interpreter there. sudo: the agent runs as root. See RemoteHost.

    known_hosts_file: instead of ssh's own files. identity: a key file, offered before those that ssh would offer.
    """

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
            raise UsageError(f"{python!a} is not a name of a Python", "give a name, or a path without blanks")
        self._python = python
        self._sudo = sudo
        self._options = dict(_OPTIONS)
        if known_hosts_file is not None:
            self._options |= {"UserKnownHostsFile": _value(known_hosts_file), "GlobalKnownHostsFile": os.devnull}
        if identity is not None:
            self._options |= {"IdentityFile": _value(identity), "IdentitiesOnly": "yes"}

    def command(self) -> list[str]:
        """The command that reaches the host. Raises BrokenEnvironmentError if there is no ssh."""
        options = [part for keyword, value in self._options.items() for part in ("-o", f"{keyword}={value}")]
        # What the shell writes first shows that the login is over.
        far = f"echo; {bundle.command(self._python, sudo=self._sudo)}"
        return [_program(), *_FLAGS, *options, *self._address.arguments(), far]

    def connect(self) -> SshConnection:
        """Run ssh, with the agent as the command there.

        Raises HostUnreachableError, HostKeyError, LoginError, NoPythonError, HostLostError, UsageError,
        BrokenEnvironmentError.
        """
        connection = SshConnection(self.name, self._address, self.command(), self._python)
        try:
            connection.wait_for_shell(LOGIN_S)
        except BaseException:
            connection.close()
            raise
        return connection


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise BrokenEnvironmentError("ssh is not installed, which reaches hosts", "apt-get install openssh-client")
    return found


def _value(path: Path) -> str:
    """A path as ssh_config(5) writes it. Raises UsageError."""
    if _UNWRITABLE.search(str(path)):
        raise UsageError(f"ssh cannot be given the path {str(path)!a}", "name one without quotes and backslashes")
    return f'"{str(path).replace("%", "%%")}"'


def _configuration_error(address: SshAddress) -> UsageError | None:
    """What is wrong with ssh's configuration of that address, if ssh cannot read it.

    Asked of ssh again: lines that a host has written are not proof.
    """
    argv = [_program(), "-G", "-T", *address.arguments()]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CONFIGURATION_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()[:1] or ["it does not say why"]
    return UsageError(
        f"ssh cannot apply its configuration to {address.host}: {printable(said[0], LINE_MAX)}", "see ssh_config(5)"
    )
