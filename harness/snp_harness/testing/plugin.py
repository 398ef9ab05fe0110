# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: boots firmware in tests, skips tests that cannot run here, and names the files of failed boots.

    @pytest.mark.emulated
    def test_contract(snp_boot):
        result = snp_boot(until=Phase.SEC)
        assert result.verdict.status is Status.HOLDS

Each option has a counterpart in the ini file: `--snp-firmware F` is `snp_firmware = F`. The option has priority.
The plugin is loaded by every pytest run in an environment that has the harness, so it imports the rest of it late.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S, DEFAULT_UNTIL

if TYPE_CHECKING:
    from snp_harness.apic.access import Phase
    from snp_harness.check import Check
    from snp_harness.firmware_run import RunResult
    from snp_harness.hosts.host import Host
    from snp_harness.svsm.config import SvsmConfig

OTHER_MARKERS = {"slow": "takes long, or repeats a test on another QEMU"}

OPTIONS = {
    "platform": ("NAME", f"the platform that snp_boot uses; default: {DEFAULT_PLATFORM}"),
    "firmware": ("F", "the firmware that snp_boot boots: a path or debian:SUITE"),
    "qemu": ("Q", "the QEMU that snp_boot runs"),
    "igvm": ("F", "the IGVM file with COCONUT-SVSM that tests on SNP hardware launch"),
    "inventory": ("FILE", "the inventory of hosts; default: ~/.config/snp-harness/hosts.toml"),
    "host-wait": ("S", "seconds to wait for a host that is in use"),
    "out": ("DIR", "the parent of run directories; default: the test's own temporary directory"),
    "require": (
        "NAMES",
        "platforms, separated by commas, whose tests fail instead of being skipped if they cannot run here",
    ),
}
HOST_HELP = (
    "the host where boots run: ssh://USER@BOX[:PORT], or a name of the inventory; one for each worker of pytest-xdist"
    " (repeat the option, or separate them by commas)"
)
#: Longest name of a test's directory, in characters.
NAME_MAX = 120

_directories = pytest.StashKey[list[Path]]()
_probes = pytest.StashKey[dict[str, "list[Check]"]]()
_host = pytest.StashKey["Host"]()


class SnpBoot:
    """The fixture `snp_boot`: a call boots a firmware. request: that of the test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(
        self,
        firmware: str | Path | None = None,
        *,
        platform: str | None = None,
        until: Phase | str = DEFAULT_UNTIL,
        config: SvsmConfig | str | Path | None = None,
        vcpus: int = 1,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        qemu: Path | None = None,
        extra_args: tuple[str, ...] = (),
        icount: bool = False,
        as_if_active: bool | None = None,
        igvm: Path | None = None,
        memory_mib: int | None = None,
    ) -> RunResult:
        """Boot a firmware and return verdict, timeline and run directory.

        firmware: a path or a name such as "debian:trixie", None for the fixture snp_firmware. platform: None for
        that of the test's marker, else of the options; another one than the marker's is an error. qemu: None for that
        of the options. until: the phase after which the run ends, or "shell" or "exit". config: an SvsmConfig,
        or the path or name of one, None for the default one. timeout_s: seconds of wall time. extra_args: for QEMU.
        icount: count instructions, so that a boot repeats exactly. as_if_active: judge a run without Alternate
        Injection as if it were active; None: only on platforms that have none. igvm: an IGVM file to launch in place of
        the reference SVSM; firmware and config are by default those of the file. memory_mib: RAM of the guest; None:
        the platform's.
        Skips the test if the platform cannot run here. Raises HarnessError if the run cannot start or ends early; what
        was seen until then is in the run directory, which the test's report names.
        """
        from snp_harness.errors import LackingHostError
        from snp_harness.firmware_run import prepare
        from snp_harness.vm.rundir import RunDirectory

        request = self._request
        name = _platform_of(request, platform)
        require_platform(request.config, name)
        default_qemu = _option(request.config, "qemu")
        boot = prepare(
            request.getfixturevalue("snp_firmware") if firmware is None and igvm is None else firmware,
            name,
            config,
            igvm=igvm,
            memory_mib=memory_mib,
            vcpus=vcpus,
            until=until,
            timeout_s=timeout_s,
            qemu=qemu or (Path(default_qemu) if default_qemu else None),
            extra_args=extra_args,
            icount=icount,
            as_if_active=as_if_active,
            host=session_host(request.config),
        )
        with RunDirectory.create(None, name, _parent(request)) as directory:
            request.node.stash.setdefault(_directories, []).append(directory.path)
            result = boot.run(directory)
        if isinstance(result.error, LackingHostError):
            _lacking(request.config, name, str(result.error))
        if result.error is not None:
            raise result.error
        return result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --snp-platform and the other options, each with its ini option."""
    group = parser.getgroup("snp-harness", "SEV-SNP firmware harness")
    for name, (metavar, text) in OPTIONS.items():
        dest = f"snp_{name.replace('-', '_')}"
        group.addoption(f"--snp-{name}", dest=dest, metavar=metavar, help=text)
        parser.addini(dest, text, default="")
    group.addoption("--snp-host", dest="snp_host", metavar="H", action="append", default=[], help=HOST_HELP)
    parser.addini("snp_host", HOST_HELP, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers for --strict-markers, and check the hosts."""
    from snp_harness.platforms import platform_names

    platforms = {name: f"boots a guest on platform {name}, skipped where that cannot run" for name in platform_names()}
    for name, text in {**platforms, **OTHER_MARKERS}.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    config.stash[_probes] = {}
    hosts = _hosts(config)
    if hosts:
        from snp_harness.testing.hosts import check

        check(config, hosts)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Connect to the host: if it cannot be used, the session ends at once, with the exit status of the command."""
    from snp_harness.errors import HarnessError

    config = session.config
    if not _hosts(config):
        return
    from snp_harness.testing.hosts import distributes, worker

    if distributes(config) or worker(config) is not None:
        return
    try:
        session_host(config)
    except HarnessError as error:
        pytest.exit(f"snp-harness: {error}", returncode=error.exit_status)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connection to the host."""
    host = config.stash.get(_host, None)
    if host is not None:
        host.close()


def _hosts(config: pytest.Config) -> list[str]:
    """Return the hosts of --snp-host, else those of the ini file."""
    given = config.getoption("snp_host") or [str(config.getini("snp_host"))]
    if not any(given):
        return []
    from snp_harness.testing.hosts import names

    return names(given)


def session_host(config: pytest.Config) -> Host:
    """Return the host of this process. The first call connects to it. Raises HarnessError."""
    if _host not in config.stash:
        hosts = _hosts(config)
        if not hosts:
            from snp_harness.hosts.local import LOCAL

            config.stash[_host] = LOCAL
        else:
            from snp_harness.testing.hosts import connect, worker

            inventory = _option(config, "inventory")
            wait_s = float(_option(config, "host_wait") or 0)
            config.stash[_host] = connect(hosts, worker(config) or 0, Path(inventory) if inventory else None, wait_s)
    return config.stash[_host]


def _option(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"snp_{name}") or config.getini(f"snp_{name}")
    return str(given) if given else None


def _required(config: pytest.Config) -> set[str]:
    return {name.strip() for name in (_option(config, "require") or "").split(",") if name.strip()}


def _probe(config: pytest.Config, name: str) -> list[Check]:
    """Return the checks of a platform on the session's host. They are made once."""
    from snp_harness.platforms import find_platform

    probes = config.stash[_probes]
    if name not in probes:
        qemu = _option(config, "qemu")
        probes[name] = find_platform(name).probe(session_host(config), Path(qemu) if qemu else None)
    return probes[name]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return a line for each platform: whether it can run, and what is missing."""
    from snp_harness.check import first_missing

    try:
        from snp_harness.platforms import platform_names
    except ImportError:
        return []

    if config.get_verbosity() < 0:
        return []
    lines = []
    where = "here"
    hosts = _hosts(config)
    if hosts:
        from snp_harness.testing.hosts import distributes, worker

        if worker(config) is not None:
            return []
        if distributes(config):
            # The workers connect to them, and a host serves one process.
            return [f"snp-harness: hosts: {', '.join(hosts)}"]
        where = f"on {hosts[0]}"
    for name in platform_names():
        missing = first_missing(_probe(config, name))
        ability = f"can run {where}" if missing is None else f"cannot run {where}: {missing}"
        lines.append(f"snp-harness: {name}: {ability}")
    return lines


def _platform_of(request: pytest.FixtureRequest, given: str | None) -> str:
    """Return the platform of a boot: that of the call or the command line, else of the test's marker, else the default.

    Fails the test if they contradict each other: a boot on another platform would say nothing about the test's.
    """
    from snp_harness.platforms import platform_names

    marked = [name for name in platform_names() if request.node.get_closest_marker(name) is not None]
    asked: str | None = given or request.config.getoption("snp_platform")
    if asked is None and len(marked) == 1:
        return marked[0]
    name = asked or str(request.getfixturevalue("snp_platform"))
    if marked and name not in marked:
        hint = "" if given or asked else ": name one with snp_boot(platform=...)"
        pytest.fail(
            f"snp_boot is to use platform {name}, and the test is marked {', '.join(marked)}{hint}", pytrace=False
        )
    return name


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose platform cannot run here, with what is missing as the reason."""
    from snp_harness.platforms import platform_names

    for name in platform_names():
        if item.get_closest_marker(name) is not None:
            require_platform(item.config, name)


def require_platform(config: pytest.Config, name: str) -> None:
    """Skip the current test, or fail it with --snp-require, if the platform of that name cannot run here."""
    from snp_harness.check import first_missing
    from snp_harness.errors import HarnessError

    try:
        session_host(config)
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        missing = first_missing(_probe(config, name))
        reason = "" if missing is None else str(missing)
    except HarnessError as error:
        reason = str(error)
    if reason:
        _lacking(config, name, reason)


def _lacking(config: pytest.Config, name: str, reason: str) -> NoReturn:
    """Skip the current test, or fail it if the platform is required."""
    host = config.stash[_host]
    where = "here" if host.here else f"on {host.name}"
    message = f"platform {name} cannot run {where}: {reason}"
    if name in _required(config):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def snp_platform(pytestconfig: pytest.Config) -> str:
    """The name of the platform: --snp-platform, else `emulated`."""
    return _option(pytestconfig, "platform") or DEFAULT_PLATFORM


@pytest.fixture(scope="session")
def snp_host(pytestconfig: pytest.Config) -> Host:
    """The host of --snp-host that this process uses and is connected to, else this machine."""
    return session_host(pytestconfig)


@pytest.fixture(scope="session")
def snp_firmware(pytestconfig: pytest.Config) -> Path:
    """The path of the firmware: --snp-firmware, else the first one fetched or installed. Skips if there is none."""
    from snp_harness.errors import HarnessError
    from snp_harness.firmware.find import find_firmware

    given = _option(pytestconfig, "firmware")
    try:
        return find_firmware(given)
    except HarnessError as error:
        if given or _required(pytestconfig):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def snp_igvm(pytestconfig: pytest.Config, snp_host: Host) -> Path:
    """The path of the SVSM's IGVM file: --snp-igvm, else the host's, else SNP_HARNESS_IGVM. Skips if there is none."""
    given = _option(pytestconfig, "igvm") or snp_host.igvm or os.environ.get("SNP_HARNESS_IGVM")
    if not given:
        missing = "no IGVM file with an SVSM is named: use --snp-igvm F (docs/snp.md describes how to build one)"
        if "snp" in _required(pytestconfig):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return Path(given)


@pytest.fixture
def snp_boot(request: pytest.FixtureRequest) -> SnpBoot:
    """Boot a firmware: snp_boot(firmware=..., platform=..., until=..., config=...) returns a RunResult; see SnpBoot."""
    return SnpBoot(request)


def _parent(request: pytest.FixtureRequest) -> Path:
    """Return the parent of a test's run directories: its own directory under --snp-out, else one in its tmp_path."""
    given = _option(request.config, "out")
    if given is None:
        temporary: Path = request.getfixturevalue("tmp_path")
        return temporary / "runs"
    name = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-.")
    return Path(given) / name[-NAME_MAX:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed test's report the run directories of its boots and the files in them."""
    report = yield
    if report.failed:
        for directory in item.stash.get(_directories, []):
            files = sorted(path.name for path in directory.glob("*"))
            # A boot that could not start leaves none.
            if files:
                report.sections.append(("snp-harness artefacts", f"{directory}: {', '.join(files)}"))
    return report
