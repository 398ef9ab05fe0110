# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import snp_harness
from snp_harness.debian.cache import cache_root
from snp_harness.errors import HarnessError
from snp_harness.hosts.local import LOCAL
from snp_harness.platforms import exit_path, platform_names
from snp_harness.testing.markers import marker_of
from snp_harness.tools.kvm_host import host_image
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.tools.linux_guest import image
from snp_harness.tools.linux_guest.pack import LinuxImage
from tests.helpers.raw_log import disagreements, finished_runs

pytest_plugins = ["pytester"]

# A busy machine fails no test, and every machine tries the same examples. To try others: --hypothesis-profile=default
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_configure() -> None:
    """Signals do what they do in a terminal: nohup, and a shell's background jobs, have some of them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # After a test that runs pytest in it, pytest forgets what was imported first meanwhile: what is imported then anew
    # has other classes and members of enumerations than what goes on being used.
    for module in pkgutil.walk_packages(snp_harness.__path__, "snp_harness."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


def pytest_itemcollected(item: pytest.Item) -> None:
    """The project's own tests have short names for the plugin's markers: `emulated` is `snp_emulated`."""
    for name in platform_names():
        if item.get_closest_marker(name) is not None:
            item.add_marker(marker_of(name))


@pytest.fixture(autouse=True, scope="session")
def inner_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A pytest that a test starts makes its directories elsewhere.

    At its start it takes the rights of other users to the common root away, which a test of another user has given.
    """
    tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(prefix="pytest-inner-") as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DEBUG_TEMPROOT", root)
        yield


@pytest.fixture(scope="session")
def kvm_host_image(request: pytest.FixtureRequest) -> Image:
    """The nested KVM host's image, of the default suite: from the cache, or made for it."""
    try:
        return host_image.images().image()
    except HarnessError as error:
        missing = f"no image of the nested host: {error}"
        if "nested" in (request.config.getoption("snp_require") or ""):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def linux_image() -> LinuxImage:
    """The Linux guest's image, of the default suite: from the cache, or made for it."""
    try:
        return image.images().image()
    except HarnessError as error:
        pytest.skip(f"no image of the Linux guest: {error}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The harness's cache: one of the test's own, which is filled without a proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return cache_root()


@pytest.fixture(autouse=True)
def this_machine() -> Iterator[None]:
    """An agent that a test has started on this machine ends with the test: others count their children."""
    yield
    LOCAL.close()


@pytest.fixture(autouse=True)
def nested_host(request: pytest.FixtureRequest) -> None:
    """Without image and network, what runs on the nested host is skipped: a probe tells only that it can be made."""
    if request.node.get_closest_marker("nested") is not None:
        request.getfixturevalue("kvm_host_image")


@pytest.fixture
def own_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that count exits, or are about a key that SNP_HARNESS_EXITS sets: the path is the configuration's."""
    monkeypatch.delenv(exit_path.VARIABLE, raising=False)


_reread: set[Path] = set()


def _reread_runs(directory: Path) -> None:
    """Read the raw logs of the runs under a directory again, with other code, and compare. Each run once."""
    for run in finished_runs(directory):
        if run not in _reread:
            _reread.add(run)
            found = disagreements(run)
            assert not found, f"{run}: the second reader of raw logs disagrees:\n" + "\n".join(found)


@pytest.fixture(autouse=True)
def raw_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each boot of a test is judged a second time, from its raw log."""
    # Before the test: after ^C the fixtures end when the test has lost its values.
    directory = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if directory is not None:
        _reread_runs(directory)


@pytest.fixture(autouse=True, scope="session")
def raw_logs_of_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those that fixtures have made as well."""
    yield
    _reread_runs(tmp_path_factory.getbasetemp())
