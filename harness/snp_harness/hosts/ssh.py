# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over SSH: OpenSSH's `ssh` runs the command there that reads the agent; neither side opens a port.

`ssh` reads the user's configuration, keys, agents and known_hosts. This module sets only what must not depend on them:
the host's key is verified, no question is asked, and only the byte stream is forwarded.
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
#: Timeout of the login, from the start of ssh to a shell, seconds. The user may have to touch a security key.
LOGIN_S = 120.0
#: Options that override the user's configuration: ssh uses the first value that it reads for a keyword.
_OPTIONS = {
    # An unknown or changed key is always an error, and known_hosts is only read.
    "StrictHostKeyChecking": "yes",
    "NoHostAuthenticationForLocalhost": "no",
    "VerifyHostKeyDNS": "no",
    "UpdateHostKeys": "no",
    # No question is asked.
    "BatchMode": "yes",
    # A connection that the user shares is used, but this ssh does not become one: it would outlive the harness.
    "ControlMaster": "no",
    # Only the agent's command runs, and only the byte stream is forwarded.
    "RemoteCommand": "none",
    "ClearAllForwardings": "yes",
    "LogLevel": "INFO",
    # Timeout of the connection, seconds; interval of keepalive messages, seconds, and how many may be unanswered.
    "ConnectTimeout": "30",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}
#: No terminal, no ssh-agent and no display for the host.
_FLAGS = ("-T", "-a", "-x")
#: Timeout of the end of ssh after its byte stream was closed, seconds.
_END_S = 1.0
#: Timeout of reading ssh's configuration, seconds: a Match line may run a program.
_CONFIGURATION_S = 60.0
#: Exit status of ssh if it failed, or if the remote program was killed.
_SSH_FAILED = 255
#: Exit status of a login shell that does not find the program.
_NOT_FOUND = 127
_PYTHON = re.compile(r"[A-Za-z0-9_./+-]{1,200}\Z")
#: Characters of a path that cannot be written in ssh_config(5).
_UNWRITABLE = re.compile(r'["\\\n\r]|\$\{')

_LET_SSH_ADD = "compare its key with the host's own, then let ssh add it to known_hosts: ssh {address}"
_SEE_SSHD = "check the port, and sshd there"
#: Messages of an ssh whose login failed, with the error to raise and its hint. The first match counts.
_FAILURES: Sequence[tuple[str, type[HarnessError], str]] = (
    (
        r"key for .* has changed",
        HostKeyError,
        "the connection may be intercepted; if the host was reinstalled, remove that line",
    ),
    (r"was revoked|is marked as revoked", HostKeyError, "do not use the host"),
    (r"host key is known for", HostKeyError, _LET_SSH_ADD),
    (r"Host key verification failed", HostKeyError, _LET_SSH_ADD),
    (
        r"Too many authentication failures",
        LoginError,
        "name the right key with IdentityFile and IdentitiesOnly in ssh's configuration",
    ),
    (
        r"Permission denied \(",
        LoginError,
        "see ssh -v {address}; a key must be authorized there (ssh-copy-id), one with a passphrase in an ssh-agent",
    ),
    (r"Could not resolve hostname", HostUnreachableError, "check its name, and HostName in ssh's configuration"),
    (r"administratively prohibited", HostUnreachableError, "check AllowTcpForwarding on the jump host"),
    (r"Connection refused", HostUnreachableError, _SEE_SSHD),
    (r"timed out|No route to host|Network is unreachable", HostUnreachableError, "check the network"),
    (r"no matching .* found", HostUnreachableError, "check the algorithms in ssh's configuration, and in sshd's there"),
    (
        r"kex_exchange_identification|banner|Connection (?:closed|reset)|Received disconnect",
        HostUnreachableError,
        _SEE_SSHD,
    ),
)
#: Lines with details of a failure.
_DETAIL = re.compile(r"Offending |Certificate |Load key |sign_and_send_pubkey: |no such identity: ")
#: Lines that ssh also writes without a failure.
_WARNING = re.compile(r"\*\* |.* (?:Unsupported|Deprecated) option ")
#: Messages of an ssh whose connection broke during its use.
_BROKEN = re.compile(
    r"Connection (?:to|closed|reset)|client_loop: |Timeout, server|Received disconnect|Disconnected from"
    r"|ssh_|mux_client|Control master|.*Broken pipe"
)


class SshConnection(ProcessConnection):
    """A running `ssh`. name: of the host. argv: the command; its output starts when the host's shell runs."""

    def __init__(self, name: str, address: SshAddress, argv: Sequence[str], python: str) -> None:
        self._name = name
        self._address = address
        self._python = python
        self._logged_in = False
        # The ssh of a jump host does not get BatchMode.
        environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
        super().__init__(argv, end_s=_END_S, dies=True, environment=environment)

    def wait_for_shell(self, timeout_s: float) -> None:
        """Wait for the first output of the host. Raises the error of `explain`; HostUnreachableError for a timeout."""
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
            f"run ssh -v {self._address} to see where it stops",
        )

    def stderr(self) -> list[str]:
        """Return the last lines of ssh's stderr, without warnings that do not concern a failure."""
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
                "check the network and the host's sshd",
            )
        how = "was killed" if status == _SSH_FAILED else f"ended with status {status}"
        hint = "sudo must work without a password there" if "sudo:" in said else "see the host's log"
        return HostLostError(f"the harness's agent on {self._name} {how}{self.last_words()}", hint)

    def _failure(self) -> HarnessError:
        """Return the error of a failed login, from the output of ssh."""
        lines = self.stderr()
        for pattern, kind, hint in _FAILURES:
            at = next((at for at, line in enumerate(lines) if re.search(pattern, line)), None)
            if at is not None:
                # A proxy program writes its reason in the line before.
                causes = lines[at - 1 : at] if kind is HostUnreachableError else []
                more = next(iter([*filter(_DETAIL.match, lines[:at]), *causes]), "")
                message = printable(f"{lines[at]} ({more})" if more else lines[at], 2 * LINE_MAX)
                return kind(f"{self._name}: {message}", hint.format(address=self._address))
        return _configuration_error(self._address) or HostUnreachableError(
            f"{self._name}: ssh failed{self.last_words()}", f"see ssh -v {self._address}"
        )


class SshHost(RemoteHost):
    """A host with an ssh:// URL. qemu_path, lock: as in RemoteHost. python: the interpreter there.

    sudo: the agent runs as root. known_hosts_file: replaces ssh's own files. identity: the key file to offer first.
    Raises UsageError for an invalid URL, python or path.
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
            raise UsageError(f"{python!a} is not the name of a Python", "use a name, or a path without blanks")
        self._python = python
        self._sudo = sudo
        self._options = dict(_OPTIONS)
        if known_hosts_file is not None:
            self._options |= {"UserKnownHostsFile": _value(known_hosts_file), "GlobalKnownHostsFile": os.devnull}
        if identity is not None:
            self._options |= {"IdentityFile": _value(identity), "IdentitiesOnly": "yes"}

    def command(self) -> list[str]:
        """Return the command line of ssh. Raises BrokenEnvironmentError if ssh is not installed."""
        options = [part for keyword, value in self._options.items() for part in ("-o", f"{keyword}={value}")]
        # The shell's first output shows that the login is complete.
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
        raise BrokenEnvironmentError("ssh, which connects to hosts, is not installed", "apt-get install openssh-client")
    return found


def _value(path: Path) -> str:
    """Quote a path for ssh_config(5). Raises UsageError if it cannot be quoted."""
    if _UNWRITABLE.search(str(path)):
        raise UsageError(f"ssh does not support the path {str(path)!a}", "use one without quotes and backslashes")
    return f'"{str(path).replace("%", "%%")}"'


def _configuration_error(address: SshAddress) -> UsageError | None:
    """Return the error in ssh's configuration for that address, None if there is none.

    This runs ssh again: the lines of the failed one may have been written by the host.
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
    said = done.stderr.decode(errors="replace").strip().splitlines()[:1] or ["it does not report why"]
    return UsageError(
        f"ssh cannot apply its configuration to {address.host}: {printable(said[0], LINE_MAX)}", "see ssh_config(5)"
    )
