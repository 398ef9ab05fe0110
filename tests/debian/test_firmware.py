# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetching, with the real apt, from a small mirror on this machine."""

from __future__ import annotations

import datetime
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.debian.cache import cache_root, locked, silent
from snp_harness.debian.firmware import fetch_file, fetch_firmware
from snp_harness.debian.firmware_names import DebianFirmware, cached_firmware, cached_names
from snp_harness.debian.packages import AptRoot, Mirror, NoNetworkError
from snp_harness.errors import FetchError, FirmwareError
from tests.debian.mirror import SUITE, Repository, SigningKey, serving

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in ("apt-get", "dpkg-deb", "gpg")), reason="needs apt, dpkg and gpg"
    ),
]
IMAGE = "usr/share/ovmf/OVMF.fd"
Keys = tuple[SigningKey, SigningKey]
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    directory = tmp_path_factory.mktemp("k")
    pair = SigningKey(directory / "a"), SigningKey(directory / "b")
    yield pair
    for key in pair:
        key.close()


@pytest.fixture
def repository(tmp_path: Path, keys: Keys) -> Repository:
    repository = Repository(tmp_path / "mirror", keys[0])
    repository.add("ovmf", "1:2025.02-8", {IMAGE: b"first"})
    repository.publish()
    return repository


@pytest.fixture
def mirror(repository: Repository) -> Iterator[Mirror]:
    with serving(repository.directory) as url:
        yield Mirror(url, repository.key.keyring)


class Said(list[str]):
    """A progress callback that remembers."""

    def __call__(self, text: str) -> None:
        self.append(text)

    def has(self, part: str) -> bool:
        return any(part in text for text in self)


class Counted(Said):
    """One that shows a download, too; the rest of the package is sent when it has."""

    def __init__(self) -> None:
        super().__init__()
        self.half = threading.Event()
        self.amounts: list[tuple[int, int]] = []

    def amount(self, done: int, total: int) -> None:
        self.amounts.append((done, total))
        if done:
            self.half.set()


def test_a_download_shows_its_bytes(repository: Repository) -> None:
    repository.add("ovmf", "1:2025.02-9", {IMAGE: random.Random(1).randbytes(1 << 20)})
    repository.publish()
    said = Counted()
    with serving(repository.directory, said.half) as url:
        assert fetch_firmware(SUITE, said, mirror=Mirror(url, repository.key.keyring)).stat().st_size == 1 << 20
    size = next(repository.directory.glob("pool/ovmf_*2025.02-9*.deb")).stat().st_size
    assert {total for _, total in said.amounts} == {size}
    assert any(0 < done < size for done, _ in said.amounts)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("debian/*/*/*"))


def test_fetch(mirror: Mirror, cache: Path) -> None:
    said = Said()
    path = fetch_firmware(SUITE, said, mirror=mirror)
    assert path.read_bytes() == b"first"
    assert path.is_relative_to(cache)
    assert said.has("1:2025.02-8 fetched")
    cached = cached_firmware(f"debian:{SUITE}")
    assert cached is not None
    assert (cached.path, cached.version) == (path, "1:2025.02-8")
    assert cached_names() == (f"debian:{SUITE}",)
    assert entries(cache) == ["1%3A2025.02-8", "current"]
    assert sorted(entry.name for entry in path.parents[3].iterdir()) == ["usr"]


def test_a_machine_without_a_place_for_temporary_files(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc")
    assert fetch_firmware(SUITE, mirror=mirror).read_bytes() == b"first"


def test_a_mirror_on_this_machine_is_asked_without_the_proxy_of_the_machines_apt(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::http::Proxy "http://127.0.0.1:9";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert fetch_firmware(SUITE, mirror=mirror).read_bytes() == b"first"


def test_what_is_cached_is_not_downloaded_again(mirror: Mirror, repository: Repository) -> None:
    first = fetch_firmware(SUITE, mirror=mirror)
    shutil.rmtree(repository.directory / "pool")
    said = Said()
    assert fetch_firmware(SUITE, said, mirror=mirror) == first
    assert said.has("is in the cache")
    assert not said.has("downloading")


def test_new_version(mirror: Mirror, repository: Repository, cache: Path) -> None:
    """The current version is the suite's; the one before is kept for runs that use it, older ones are removed."""
    paths = [fetch_firmware(SUITE, mirror=mirror)]
    for number in (2, 3):
        repository.add("ovmf", f"{number}:1", {IMAGE: b"content %d" % number})
        repository.publish()
        paths.append(fetch_firmware(SUITE, mirror=mirror))
    assert paths[-1].read_bytes() == b"content 3"
    assert entries(cache) == ["2%3A1", "3%3A1", "current"]
    cached = cached_firmware(SUITE)
    assert cached is not None
    assert cached.path == paths[-1]


def test_unsigned_index(mirror: Mirror, repository: Repository, cache: Path) -> None:
    repository.publish(signed=False)
    with pytest.raises(FetchError):
        fetch_firmware(SUITE, mirror=mirror)
    assert entries(cache) == []


def test_index_signed_by_another_key(mirror: Mirror, repository: Repository, keys: Keys, cache: Path) -> None:
    repository.key = keys[1]
    repository.publish()
    with pytest.raises(FetchError, match="NO_PUBKEY") as caught:
        fetch_firmware(SUITE, mirror=mirror)
    assert "signature" in caught.value.hint
    assert entries(cache) == []


def test_bad_signature_is_no_missing_network(mirror: Mirror, repository: Repository, keys: Keys) -> None:
    """A warm cache does not hide it."""
    fetch_firmware(SUITE, mirror=mirror)
    repository.key = keys[1]
    repository.publish()
    with pytest.raises(FetchError, match="NO_PUBKEY"):
        fetch_firmware(SUITE, mirror=mirror)


def test_changed_index(mirror: Mirror, repository: Repository, cache: Path) -> None:
    """The signature is right, the list of packages is not the signed one."""
    packages = repository.directory / "dists" / SUITE / "main" / "binary-amd64" / "Packages"
    packages.write_text(packages.read_text().replace("for a test", "for a rest"))
    with pytest.raises(FetchError, match=r"Hash Sum mismatch|unexpected size"):
        fetch_firmware(SUITE, mirror=mirror)
    assert entries(cache) == []


@pytest.mark.parametrize("size", ["same", "shorter", "longer"])
def test_damaged_package(mirror: Mirror, repository: Repository, cache: Path, size: str) -> None:
    (deb,) = (repository.directory / "pool").iterdir()
    content = deb.read_bytes()
    damaged = content.replace(b"first", b"worst")
    deb.write_bytes({"same": damaged, "shorter": content[:-100], "longer": content + b"more"}[size])
    with pytest.raises(FetchError):
        fetch_firmware(SUITE, mirror=mirror)
    assert entries(cache) == []


def test_expired_index_is_taken_with_a_warning(mirror: Mirror, repository: Repository) -> None:
    repository.publish(valid_for=-30 * DAY)
    said = Said()
    assert fetch_firmware(SUITE, said, mirror=mirror).read_bytes() == b"first"
    assert said.has("warning: ")
    assert said.has("has expired")


def test_expired_index_must_still_be_signed(mirror: Mirror, repository: Repository, keys: Keys) -> None:
    repository.key = keys[1]
    repository.publish(valid_for=-30 * DAY)
    with pytest.raises(FetchError, match="NO_PUBKEY"):
        fetch_firmware(SUITE, mirror=mirror)


def test_warm_cache_without_network(repository: Repository) -> None:
    with serving(repository.directory) as url:
        mirror = Mirror(url, repository.key.keyring)
        first = fetch_firmware(SUITE, mirror=mirror)
    said = Said()
    assert fetch_firmware(SUITE, said, mirror=mirror) == first
    assert said.has("using ovmf 1:2025.02-8 from the cache")


def test_cold_cache_without_network(repository: Repository) -> None:
    with serving(repository.directory) as url:
        mirror = Mirror(url, repository.key.keyring)
    with pytest.raises(NoNetworkError) as caught:
        fetch_firmware(SUITE, mirror=mirror)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status >= 128


def test_suite_that_the_mirror_lacks(mirror: Mirror) -> None:
    with pytest.raises(FetchError, match=r"does not have a Release file|404") as caught:
        fetch_firmware("nosuch", mirror=mirror)
    assert caught.value.hint == "check the name of the suite and the mirror"
    with pytest.raises(FetchError) as caught:
        fetch_firmware("trixi", mirror=mirror)
    assert caught.value.hint == "did you mean trixie? check the name of the suite and the mirror"
    assert not isinstance(caught.value, NoNetworkError)


def test_package_that_the_suite_lacks(mirror: Mirror) -> None:
    with pytest.raises(FetchError, match=f"{SUITE} has no package ovmf-amdsev"):
        fetch_firmware(f"{SUITE}/amdsev", mirror=mirror)


def test_package_without_the_image(mirror: Mirror, repository: Repository) -> None:
    repository.add("ovmf", "9:1", {"usr/share/doc/ovmf/README": b"moved"})
    repository.publish()
    with pytest.raises(FetchError, match=f"has no {IMAGE}"):
        fetch_firmware(SUITE, mirror=mirror)


def test_an_image_that_moved_to_another_package(mirror: Mirror, repository: Repository, cache: Path) -> None:
    """An empty package, such as sid's ovmf, becomes no entry of the cache; an older harness made one."""
    first = fetch_firmware(SUITE, mirror=mirror)
    useless = cache / "debian" / SUITE / "ovmf" / "9%3A1"
    useless.mkdir()
    repository.add("ovmf", "9:1", {"usr/share/doc/ovmf/README": b"moved"}, depends="ovmf-generic")
    repository.add("ovmf-generic", "9:1", {IMAGE: b"second"})
    repository.publish()
    moved = fetch_firmware(SUITE, mirror=mirror)
    assert (moved.read_bytes(), moved.is_relative_to(cache / "debian" / SUITE / "ovmf-generic")) == (b"second", True)
    assert not useless.exists()
    assert first.is_file(), "the entry before it may be in use"


def test_an_image_that_moved_without_network(mirror: Mirror, repository: Repository, cache: Path) -> None:
    repository.add("ovmf", "9:1", {"usr/share/doc/ovmf/README": b"moved"})
    repository.add("ovmf-generic", "9:1", {IMAGE: b"second"})
    repository.publish()
    image = fetch_firmware(SUITE, mirror=mirror)
    cached = cached_firmware(SUITE)
    assert cached is not None
    assert cached.path == image
    assert cached_names() == (f"debian:{SUITE}",)
    nowhere = Mirror("http://127.0.0.1:9", repository.key.keyring)
    assert fetch_firmware(SUITE, mirror=nowhere) == image


@pytest.mark.parametrize("at", ["downloading", "reading"])
def test_interruption_leaves_nothing(mirror: Mirror, cache: Path, at: str) -> None:
    def interrupted(text: str) -> None:
        if at in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_firmware(SUITE, interrupted, mirror=mirror)
    assert entries(cache) == []
    assert fetch_firmware(SUITE, mirror=mirror).read_bytes() == b"first"


def test_what_a_killed_process_left_is_removed(mirror: Mirror, cache: Path) -> None:
    left = cache / "debian" / SUITE / "ovmf" / ".incomplete-abc"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"")
    assert cached_firmware(SUITE) is None
    fetch_firmware(SUITE, mirror=mirror)
    assert not left.exists()


def test_two_at_once(mirror: Mirror, cache: Path) -> None:
    """The second waits for the first, and reports that."""
    waiting = threading.Event()
    said = Said()
    result: list[Path] = []

    def progress(text: str) -> None:
        said(text)
        if "waiting" in text:
            waiting.set()

    other = threading.Thread(target=lambda: result.append(fetch_firmware(SUITE, progress, mirror=mirror)))
    with locked(cache / "apt" / f"{SUITE}.lock", silent):
        other.start()
        assert waiting.wait(timeout=300)
        assert said == ["waiting for another process that does the same"]
    other.join(timeout=300)
    assert [path.read_bytes() for path in result] == [b"first"]


def test_cache_that_cannot_be_written(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="cannot write to") as caught:
        fetch_firmware(SUITE, mirror=mirror)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_machine_without_apt(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="apt-get or dpkg-deb is not installed"):
        fetch_firmware(SUITE, mirror=mirror)


def test_machine_without_keyring(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no keyring") as caught:
        fetch_firmware(SUITE, mirror=Mirror(mirror.url, tmp_path / "none.gpg"))
    assert "debian-archive-keyring" in caught.value.hint


def test_closure(mirror: Mirror, repository: Repository, cache: Path) -> None:
    """All dependencies of a package, independent of the packages on this machine."""
    repository.add("libc6", "2.99", {"usr/lib/libc": b"libc"})
    repository.add("qemu", "12:1", {"usr/bin/qemu": b"qemu"}, depends="libc6 (>= 2.9), dash")
    repository.add("dash", "3", {"usr/bin/dash": b"dash"})
    repository.publish()
    said = Said()
    apt = AptRoot(cache / "apt" / SUITE, SUITE, mirror, said)
    apt.update()
    closure = apt.closure(["qemu"])
    assert {(a.name, a.version) for a in closure} == {("libc6", "2.99"), ("qemu", "12:1"), ("dash", "3")}
    files = apt.download(closure, cache / "download")
    assert sorted(path.name for path in files) == ["dash_3_all.deb", "libc6_2.99_all.deb", "qemu_12%3a1_all.deb"]
    assert said.has("3 packages")


def test_a_damaged_file_in_the_way_is_not_taken(mirror: Mirror, repository: Repository, cache: Path) -> None:
    """apt accepts a file of the right size as the package; its hash shows that it is another one."""
    (deb,) = (repository.directory / "pool").iterdir()
    apt = AptRoot(cache / "apt" / SUITE, SUITE, mirror, silent)
    apt.update()
    archive = apt.candidate("ovmf")
    download = cache / "download"
    download.mkdir()
    (download / archive.file_name).write_bytes(deb.read_bytes().replace(b"first", b"worst"))
    with pytest.raises(FetchError, match="damaged"):
        apt.download([archive], download)
    (path,) = apt.download([archive], download)
    assert path.read_bytes() == deb.read_bytes()


def test_closure_that_cannot_be(mirror: Mirror, repository: Repository) -> None:
    repository.add("qemu", "1", {}, depends="nothing-such")
    repository.publish()
    apt = AptRoot(cache_root() / "apt" / SUITE, SUITE, mirror, silent)
    apt.update()
    with pytest.raises(FetchError, match="cannot resolve the dependencies of qemu"):
        apt.closure(["qemu"])


@pytest.mark.parametrize(
    "spec",
    ["", "trixie main", "debian:", "debian:trixie/none", "../trixie", "trixie\n", "-o=x", "debian:a/b/c", "TRIXIE"],
)
def test_names_that_are_none(spec: str) -> None:
    with pytest.raises(FirmwareError, match="does not name a firmware"):
        DebianFirmware.parse(spec)


def test_names() -> None:
    assert DebianFirmware.parse("trixie").name == DebianFirmware.parse("debian:trixie").name == "debian:trixie"
    assert DebianFirmware.parse("sid/amdsev") == DebianFirmware(
        "sid", "amdsev", ("ovmf-amdsev",), "usr/share/ovmf/OVMF.amdsev.fd"
    )


@pytest.mark.parametrize("package", ["-oAPT::X=1", "a b", "ovmf=1", "ovmf/sid", "", "*", "ovmf+\n"])
def test_package_names_that_are_none(mirror: Mirror, package: str) -> None:
    with pytest.raises(FetchError, match="is not a package of Debian"):
        fetch_file(SUITE, package, IMAGE, mirror=mirror)


@pytest.mark.parametrize(
    "url", ["", "ftp://x/debian", "http://x/de bian", "http://x/\ndeb y", 'http://x/"', "/srv/debian"]
)
def test_mirrors_that_are_none(url: str) -> None:
    with pytest.raises(FetchError, match="is not a mirror"):
        Mirror(url)


def test_mirror_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNP_HARNESS_DEBIAN_MIRROR", "https://mirror.example/debian")
    assert Mirror.configured().url == "https://mirror.example/debian"
    monkeypatch.delenv("SNP_HARNESS_DEBIAN_MIRROR")
    assert Mirror.configured().url == "http://deb.debian.org/debian"
