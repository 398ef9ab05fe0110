# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's source package, with the real apt, from a small signed mirror on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.debian.packages import Mirror
from snp_harness.edk2.debian_source import cached_source, debian_commit, debian_store, fetch_source
from snp_harness.edk2.git import PatchError, Store
from snp_harness.edk2.source import find_source
from snp_harness.errors import FetchError, FirmwareError
from tests.debian.mirror import SUITE, Repository, SigningKey, serving
from tests.edk2.conftest import Said
from tests.edk2.trees import LANDMARKS, entry, patch_between, tar_xz

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("apt-get", "dpkg-deb", "gpg", "git")), reason="needs apt, gpg and git"
)
VERSION = "2025.02-8"
ORIG = "edk2_2025.02.orig.tar.xz"
DEBIAN = f"edk2_{VERSION}.debian.tar.xz"
FILE = "OvmfPkg/OvmfPkg.dec"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningKey]:
    key = SigningKey(tmp_path_factory.mktemp("k") / "a")
    yield key
    key.close()


def tarballs(directory: Path, patch: bytes, series: bytes = b"a.patch # why\n") -> dict[str, bytes]:
    orig = tar_xz(directory / ORIG, [entry(f"edk2-2025.02/{path}", data) for path, data in LANDMARKS.items()])
    debian = tar_xz(
        directory / DEBIAN,
        [
            entry("debian/rules", b"#!/bin/sh\nexit 1\n"),
            entry("debian/patches/series", series),
            entry("debian/patches/a.patch", patch),
        ],
    )
    return {path.name: path.read_bytes() for path in (orig, debian)}


@pytest.fixture
def patch(tmp_path: Path) -> bytes:
    changed = {**LANDMARKS, FILE: LANDMARKS[FILE] + b"patched\r\n"}
    return patch_between(Store.open(tmp_path / "patches"), LANDMARKS, changed)


@pytest.fixture
def repository(tmp_path: Path, key: SigningKey, patch: bytes) -> Repository:
    repository = Repository(tmp_path / "mirror", key)
    repository.add_source("edk2", VERSION, tarballs(tmp_path, patch))
    repository.publish()
    return repository


@pytest.fixture
def mirror(repository: Repository, cache: Path) -> Iterator[Mirror]:
    assert cache
    with serving(repository.directory) as url:
        yield Mirror(url, repository.key.keyring)


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob(f"debian/{SUITE}/edk2-source/*"))


def test_a_source_is_fetched_unpacked_and_patched(mirror: Mirror, said: Said) -> None:
    package = fetch_source(SUITE, said, mirror=mirror)
    assert (package.version, package.upstream) == (VERSION, 202502)
    commit = debian_commit(package, said)
    tree = debian_store().tree(commit)
    assert debian_store().read(tree, FILE) == LANDMARKS[FILE] + b"patched\r\n"
    assert debian_store().read(tree, "debian/rules") is None
    assert cached_source(SUITE) == package


def test_with_a_warm_cache_neither_the_mirror_nor_the_tarballs_are_needed(
    mirror: Mirror, repository: Repository, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = fetch_source(SUITE, said, mirror=mirror)
    commit = debian_commit(package, said)
    shutil.rmtree(repository.directory)
    for name, _ in package.files:
        (package.directory / name).unlink()
    monkeypatch.setenv("SNP_HARNESS_DEBIAN_MIRROR", "http://127.0.0.1:9")
    assert find_source(f"debian:{SUITE}", said).commit == commit


def test_a_corrupted_download_is_refused(mirror: Mirror, repository: Repository, cache: Path) -> None:
    path = repository.directory / "pool" / ORIG
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FetchError, match="Hash Sum mismatch"):
        fetch_source(SUITE, mirror=mirror)
    assert left(cache) == []
    assert cached_source(SUITE) is None


def test_a_tarball_that_rots_in_the_cache_is_refused_and_fetched_again(mirror: Mirror, said: Said) -> None:
    package = fetch_source(SUITE, mirror=mirror)
    path = package.directory / ORIG
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FetchError, match="damaged: its hash is not the index's"):
        debian_commit(package)
    assert debian_commit(fetch_source(SUITE, said, mirror=mirror))


def test_an_index_without_signature_is_refused(mirror: Mirror, repository: Repository, cache: Path) -> None:
    repository.publish(signed=False)
    with pytest.raises(FetchError):
        fetch_source(SUITE, mirror=mirror)
    assert left(cache) == []


def test_a_suite_without_the_package_is_named(tmp_path: Path, key: SigningKey, cache: Path) -> None:
    assert cache
    repository = Repository(tmp_path / "empty", key)
    repository.add_source("other", "1", {"other_1.orig.tar.xz": b"x", "other_1.debian.tar.xz": b"x"})
    repository.publish()
    with serving(repository.directory) as url, pytest.raises(FetchError, match="has no source package edk2"):
        fetch_source(SUITE, mirror=Mirror(url, key.keyring))


def test_a_patch_of_debians_that_does_not_apply_leaves_no_commit(
    tmp_path: Path, key: SigningKey, patch: bytes, cache: Path
) -> None:
    assert cache
    repository = Repository(tmp_path / "second", key)
    repository.add_source("edk2", VERSION, tarballs(tmp_path, patch.replace(b"[Defines]", b"[Other]")))
    repository.publish()
    with serving(repository.directory) as url:
        package = fetch_source(SUITE, mirror=Mirror(url, key.keyring))
    with pytest.raises(PatchError, match=r"a\.patch does not apply"):
        debian_commit(package)
    assert debian_store().git("for-each-ref").line == ""


@pytest.mark.parametrize("spec", ["debian:", "debian:../x", "debian:TRIXIE", "debian:a b"])
def test_what_names_no_suite(spec: str, cache: Path) -> None:
    assert cache
    with pytest.raises(FirmwareError, match="does not name a suite"):
        find_source(spec)
