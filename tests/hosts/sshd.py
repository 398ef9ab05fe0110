# SPDX-License-Identifier: GPL-2.0-or-later
"""A real sshd on loopback, with a configuration, a host key and a user key of its own, run as the user of the tests."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.vm.processes import children, wait_for_end

SSHD_PLACES = ("/usr/sbin/sshd", "/usr/local/sbin/sshd")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_START_S = 120.0
#: Ports that are tried.
_PORTS = 5


def find_sshd() -> str:
    """Return the path of a program; skips the test if there is none."""
    found = shutil.which("sshd") or next((place for place in SSHD_PLACES if os.access(place, os.X_OK)), None)
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd or no ssh-keygen: apt-get install openssh-server")
    if os.geteuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    return found


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    """A key pair."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


def certify(authority: Path, key: Path, *options: str, host: bool = True) -> Path:
    """Make a certificate of a key, beside it; it replaces an earlier one."""
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", *(["-h"] if host else []), *options, f"{key}.pub"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return key.with_name(f"{key.name}-cert.pub")


@functools.cache
def near_programs(base: Path) -> Path:
    """A directory, made in `base`, with an `ssh` to which $HOME is the account's home."""
    ssh = shutil.which("ssh")
    compiler = shutil.which("gcc")
    if ssh is None or compiler is None:
        pytest.skip("no ssh or no gcc: apt-get install openssh-client gcc")
    directory = base / "near"
    directory.mkdir()
    library = directory / "home.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(Path(__file__).with_name("home.c"))], check=True
    )
    program = directory / "ssh"
    program.write_text(f'#!/bin/sh\nLD_PRELOAD={shlex.quote(str(library))} exec {shlex.quote(ssh)} "$@"\n')
    program.chmod(0o755)
    return directory


def penalties() -> str:
    """Return the line by which a server accepts connections at once after a failed one: since OpenSSH 9.8."""
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    found = re.match(r"OpenSSH_(\d+)\.(\d+)", said)
    return "PerSourcePenalties no" if found and (int(found[1]), int(found[2])) >= (9, 8) else ""


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with closed_port() as port:
        return port


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Reserve a port of loopback on which nothing listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def account() -> str:
    """Return the name of the account that the tests run as, independent of the environment."""
    return pwd.getpwuid(os.getuid()).pw_name


@dataclass
class Sshd:
    """A running server. home: the near side's home, with keys and known_hosts. cache: the far store."""

    directory: Path
    port: int
    home: Path
    host_key: Path
    process: subprocess.Popen[bytes]
    log: Path
    cache: Path
    user: str = field(default_factory=account)

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def logins(self) -> int:
        """The number of logins so far."""
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def sessions(self) -> list[int]:
        """The server's own processes of open connections: a server that is not root's has two for each."""
        found = []
        seen = children(self.process.pid)
        for pid in seen:
            # It may have ended meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    found.append(pid)
                    seen += children(pid)
        return found

    def cut(self) -> None:
        """Kill the server's processes of open connections, as if these were reset."""
        for pid in self.sessions():
            # It may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def trust(self, key: Path | None = None, port: int | None = None) -> None:
        """Write a host key, and no other, into the near side's known_hosts. port: by which the server is reached."""
        kind, content, *_ = Path(f"{key or self.host_key}.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{port or self.port} {kind} {content}\n")

    def configure(self, text: str) -> None:
        """Write the near side's ssh configuration. ssh reads none that others may write to."""
        path = self.home / ".ssh" / "config"
        path.write_text(text)
        path.chmod(0o600)

    def stop(self) -> None:
        """End the server and its sessions."""
        self.cut()
        self.process.terminate()
        self.process.wait(60)


def start_sshd(
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    options: str = "",
    path: Path | None = None,
    file_size: int | None = None,
    forwarding: bool = False,
    tries: int = 20,
) -> Sshd:
    """Start a server in a new directory.

    environment: of what runs there. path: the only directory where it finds programs, whatever the user's shell thinks.
    file_size: limit of its files, bytes. forwarding: connections may go through it. tries: keys that one may offer.
    """
    program = find_sshd()
    directory.mkdir()
    home = directory / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    host_key = make_key(directory / "host_key")
    user_key = make_key(home / ".ssh" / "id_ed25519")
    authorized = directory / "authorized_keys"
    authorized.write_text(Path(f"{user_key}.pub").read_text())
    authorized.chmod(0o600)
    cache = directory / "far"
    far = {
        "XDG_CACHE_HOME": str(cache),
        "SNP_HARNESS_LOCK": str(directory / "lock"),
        **(environment or {}),
    }
    if path is not None:
        options += f'\nForceCommand PATH="{path}"; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    text = f"""ListenAddress 127.0.0.1
HostKey "{host_key}"
PidFile none
AuthorizedKeysFile "{authorized}"
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding {"yes" if forwarding else "no"}
X11Forwarding no
PrintMotd no
LogLevel VERBOSE
{penalties()}
MaxAuthTries {tries}
SetEnv {" ".join(f'"{key}={value}"' for key, value in far.items())}
{options}
"""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    config, log = directory / "sshd_config", directory / "sshd.log"
    said = ""
    # Another process may take the port meanwhile.
    for _ in range(_PORTS):
        port = free_port()
        config.write_text(f"Port {port}\n{text}")
        log.write_text("")
        process = subprocess.Popen(
            [program, "-D", "-f", str(config), "-E", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=limit,
        )
        made = Sshd(directory, port, home, host_key, process, log, cache)
        made.trust()
        said = _wait_until_it_listens(made, text.count("ListenAddress "))
        if not said:
            return made
        process.kill()
        process.wait(60)
    raise RuntimeError(f"sshd ended: {said}")


def _wait_until_it_listens(sshd: Sshd, addresses: int) -> str:
    """Return "", or the server's error if its port is in use on an address. Raises RuntimeError."""
    deadline = time.monotonic() + _START_S
    while True:
        # Checked before its output is read, which then is complete.
        ended = sshd.process.poll() is not None
        said = sshd.log.read_text(errors="replace")
        if "Address already in use" in said:
            return said
        if ended:
            raise RuntimeError(f"sshd ended: {said}")
        # Its own message is the proof: a connection may reach another process's server.
        if said.count("Server listening on") >= addresses:
            return ""
        if time.monotonic() > deadline:
            sshd.process.kill()
            raise RuntimeError(f"sshd does not listen after {_START_S:g} s: {said}")
        # Its log can only be looked at; its end is noticed at once.
        wait_for_end(sshd.process.pid, 0.01)
