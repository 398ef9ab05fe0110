# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a host is and how to log in there: an ssh:// URL, and what the user's ssh configuration says of it.

The configuration is ssh's own to read (`ssh -G`): Include, Match, patterns and the system's file mean here what they
mean there. What it asks for and cannot be had is refused, where a connection without it would be another one.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.hosts.proxy_words import proxy_words
from snp_harness.vm.qemu_errors import printable

SCHEME = "ssh://"
PROGRAM = "ssh"
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}\Z")
#: Hosts on the way to one.
JUMPS_MAX = 8
#: Seconds that ssh may take to read its configuration: a Match line may run a program.
_READ_S = 60.0
_SAID = 300
#: Seconds that a host may take to answer, where ConnectTimeout says nothing.
CONNECT_S = 15.0
_TOKEN = re.compile(r"%(.?)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NONE = "none"
#: Keywords that are not followed: the values that change nothing, the usual one first, and what to do instead.
_REFUSED = {
    "proxyusefdpass": (("no",), "use a ProxyCommand that passes the bytes on itself"),
    "bindinterface": ((_NONE,), "use BindAddress"),
    "revokedhostkeys": ((_NONE,), "write the keys to known_hosts, each marked @revoked"),
    "pubkeyauthentication": (("true", "yes", "unbound", "host-bound"), "a host is logged in to with keys only"),
}
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
#: Lists of algorithms by ssh's keyword.
ALGORITHMS = ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """What a URL says."""

    host: str
    user: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where to connect and log in.

    key_name: the name that the host's key is kept under, if it is not the host's own. identities: key files; the first
    that is accepted is used. certificates: of such keys. agent: the ssh-agent's socket. all_agent_keys: keys of the
    ssh-agent that no identity names are tried, too. jumps: the hosts on the way, the first one first. proxy: a command
    whose input and output are the connection. family: of addresses, as `socket` has it. bind: an address to connect
    from. connect_s: seconds for that. algorithms: what the configuration allows, by ALGORITHMS' names. token_keys: the
    configuration names keys that only ssh can use. keys_by_command: and a command that knows keys of hosts.
    """

    host: str
    port: int
    user: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    certificates: tuple[Path, ...] = ()
    key_name: str | None = None
    agent: Path | None = None
    all_agent_keys: bool = True
    jumps: tuple[SshAddress, ...] = ()
    proxy: tuple[str, ...] = ()
    family: int = socket.AF_UNSPEC
    bind: str | None = None
    connect_s: float = CONNECT_S
    algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    token_keys: bool = False
    keys_by_command: bool = False


def parse_url(url: str) -> SshAddress:
    """The parts of ssh://[USER@]HOST[:PORT]. Raises UsageError; what a URL holds besides is not repeated."""
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        raise UsageError("the host's URL cannot be read", "give ssh://USER@HOST:PORT") from None
    if parts.password is not None:
        raise UsageError(
            "the host's URL holds a password",
            "passwords are not used: give ssh://USER@HOST, with a key or an ssh-agent",
        )
    if parts.scheme != "ssh" or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{url!a} is no host", "give ssh://USER@HOST:PORT, or a name of the inventory")
    if not _HOST.match(host) or host.startswith("-") or (user is not None and not _USER.match(user)) or port == 0:
        raise UsageError(f"{url!a} names no host that can be", "give ssh://USER@HOST:PORT")
    return SshAddress(host, user, port)


def resolve(address: SshAddress, *, known_hosts: Path | None = None, identity: Path | None = None) -> SshTarget:
    """The target of an address, as ssh's configuration has it. known_hosts, identity: instead of its.

    Raises UsageError, BrokenEnvironmentError if there is no ssh.
    """
    return _target(address, parse_settings(_ask_ssh(address)), known_hosts, identity)


def parse_settings(text: str) -> dict[str, list[str]]:
    """What `ssh -G` prints: the values of each keyword, in their order."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword and value:
            settings.setdefault(keyword.lower(), []).append(value)
    return settings


def _ask_ssh(address: SshAddress) -> str:
    """What ssh would do to reach an address."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise BrokenEnvironmentError(
            "ssh is not installed, which reads the configuration of hosts", "apt-get install openssh-client"
        )
    argv = [program, "-G"]
    home = Path.home()
    if home != _account_home():
        # ssh itself does not look at HOME. The system's file is not read then.
        own = home / ".ssh" / "config"
        argv += ["-F", str(own) if own.exists() else _NONE]
    if address.user is not None:
        argv += ["-l", address.user]
    if address.port is not None:
        argv += ["-p", str(address.port)]
    try:
        done = subprocess.run(
            [*argv, "--", address.host], stdin=subprocess.DEVNULL, capture_output=True, timeout=_READ_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"ssh did not read its configuration of {address.host} in {_READ_S:g} s", "see its Match lines"
        ) from None
    except OSError as error:
        raise BrokenEnvironmentError(f"{program} cannot be started: {error.strerror}", "see PATH") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = printable(next((line for line in said if "Pseudo-terminal" not in line), "it does not say why"), _SAID)
        raise UsageError(f"ssh cannot apply its configuration to {address.host}: {why}", "see ssh_config(5)")
    return done.stdout.decode(errors="replace")


def _target(
    address: SshAddress, settings: Mapping[str, Sequence[str]], known_hosts: Path | None, identity: Path | None
) -> SshTarget:
    def text(keyword: str, default: str = "") -> str:
        return settings.get(keyword, [default])[0]

    for keyword, (harmless, instead) in _REFUSED.items():
        value = text(keyword, harmless[0])
        if value.lower() not in harmless:
            raise UsageError(f"ssh's configuration of {address.host} has {keyword} {value!a}, not supported", instead)
    host, port, user = text("hostname", address.host), text("port", "22"), text("user")
    if not _HOST.match(host) or host.startswith("-") or not user or not user.isprintable():
        raise UsageError(
            f"ssh's configuration of {address.host} names no host and user that can be: {user!a}, {host!a}",
            "see HostName and User there",
        )
    expand = _expander(address, settings)
    files = [expand(name) for name in settings.get("identityfile", []) if name != _NONE]
    known = " ".join([text("userknownhostsfile", _NONE), text("globalknownhostsfile", _NONE)]).split()
    proxy = text("proxycommand", _NONE)
    bind = text("bindaddress", _NONE)
    wait_s = text("connecttimeout", _NONE)
    return SshTarget(
        host=host,
        port=int(port),
        user=user,
        known_hosts=(known_hosts,) if known_hosts else tuple(_file(expand(name)) for name in known if name != _NONE),
        identities=(identity,) if identity else tuple(map(_file, files)),
        certificates=tuple(_file(expand(name)) for name in settings.get("certificatefile", []) if name != _NONE),
        key_name=text("hostkeyalias") or None,
        agent=_agent(text("identityagent", "SSH_AUTH_SOCK"), expand),
        all_agent_keys=text("identitiesonly", "no") != "yes",
        jumps=_jumps(text("proxyjump", _NONE), address.host),
        proxy=() if proxy == _NONE else tuple(expand(word) for word in proxy_words(proxy, address.host)),
        family=_FAMILIES.get(text("addressfamily", "any"), socket.AF_UNSPEC),
        bind=None if bind == _NONE else bind,
        connect_s=float(wait_s) if wait_s.isdigit() and wait_s != "0" else CONNECT_S,
        algorithms={keyword: tuple(text(keyword).split(",")) for keyword in ALGORITHMS if text(keyword)},
        token_keys=text("pkcs11provider", _NONE) != _NONE,
        keys_by_command=text("knownhostscommand", _NONE) != _NONE,
    )


def _expander(address: SshAddress, settings: Mapping[str, Sequence[str]]) -> Callable[[str], str]:
    """Replaces the tokens of ssh_config(5) (TOKENS) and ${VARIABLES} in a value."""

    def first(keyword: str) -> str:
        return settings.get(keyword, [""])[0]

    name = socket.gethostname()
    tokens = {
        "%": "%",
        "d": str(Path.home()),
        "h": first("hostname"),
        "i": str(os.getuid()),
        "k": first("hostkeyalias") or address.host,
        "L": name.partition(".")[0],
        "l": name,
        "n": address.host,
        "p": first("port"),
        "r": first("user"),
        "u": _account().pw_name,
    }

    def token(match: re.Match[str]) -> str:
        if match.group(1) not in tokens:
            raise UsageError(
                f"ssh's configuration of {address.host} has the token {match.group()!a}, not supported",
                f"there are {' '.join('%' + known for known in tokens)}",
            )
        return tokens[match.group(1)]

    def variable(match: re.Match[str]) -> str:
        if match.group(1) not in os.environ:
            raise UsageError(f"ssh's configuration of {address.host} names {match.group()}, which is not set", "set it")
        return os.environ[match.group(1)]

    return lambda value: _TOKEN.sub(token, _VARIABLE.sub(variable, value))


def _agent(value: str, expand: Callable[[str], str]) -> Path | None:
    """The socket that IdentityAgent names."""
    if value == _NONE:
        return None
    if value == "SSH_AUTH_SOCK" or (value.startswith("$") and not value.startswith("${")):
        named = os.environ.get(value.removeprefix("$"), "")
        return Path(named) if named else None
    return _file(expand(value))


def _file(name: str) -> Path:
    """A file that ssh names. In the account's own ~/.ssh it is meant to lie in HOME's, as ssh's configuration does."""
    path = Path(name).expanduser()
    own = _account_home() / ".ssh"
    return Path.home() / ".ssh" / path.relative_to(own) if path.is_relative_to(own) else path


def _account_home() -> Path:
    """The home that the account has, whatever HOME says. Raises BrokenEnvironmentError, where ssh does not work."""
    return Path(_account().pw_dir)


def _account() -> pwd.struct_passwd:
    """The account, whatever LOGNAME says. Raises as `_account_home`."""
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        raise BrokenEnvironmentError(
            f"there is no account with the number {os.getuid()}", "see getent passwd"
        ) from None


def _jumps(value: str, host: str) -> tuple[SshAddress, ...]:
    """The hosts that ProxyJump names: [USER@]HOST[:PORT], or URLs, with commas between them."""
    if value == _NONE:
        return ()
    parts = value.split(",")
    if len(parts) > JUMPS_MAX:
        raise UsageError(f"ssh's configuration has {len(parts)} jumps to {host}", f"{JUMPS_MAX} are followed")
    return tuple(parse_url(part if part.startswith(SCHEME) else SCHEME + part) for part in parts)
