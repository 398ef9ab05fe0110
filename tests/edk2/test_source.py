# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's directory and repository are read unchanged, and never written to."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.edk2.archive import MAX_FILE_BYTES
from snp_harness.edk2.git import Store
from snp_harness.edk2.recipe import DEFAULT_DEFINES, Recipe, guard_network, tool_chain
from snp_harness.edk2.source import Repository, Source, directory_source
from snp_harness.edk2.source_errors import SourceError
from snp_harness.errors import FirmwareError
from tests.edk2.trees import LANDMARKS, tree_of, write_tree

pytestmark = pytest.mark.usefixtures("cache")


def git(directory: Path, *arguments: str) -> str:
    names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def fingerprint(directory: Path) -> dict[str, tuple[str, int]]:
    """Everything in a directory, .git included: content and time of the last change.

    Without the time of objects: git renews it of one that it would write and finds there.
    """
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            0 if "objects" in path.parts else path.stat().st_mtime_ns,
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def edk2(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "edk2", LANDMARKS)


@pytest.fixture
def clone(tmp_path: Path, edk2: Path) -> Path:
    """A clone with a submodule, a tag, and a commit after it."""
    module = write_tree(tmp_path / "module", {"lib/m.c": b"m\r\n"})
    git(module, "init", "-q")
    git(module, "add", "-A")
    git(module, "commit", "-qm", "module")
    git(edk2, "init", "-q")
    git(edk2, "add", "-A")
    git(edk2, "submodule", "--quiet", "add", str(module), "CryptoPkg/module")
    git(edk2, "commit", "-qm", "first")
    git(edk2, "tag", "edk2-stable202502")
    (edk2 / "new.c").write_bytes(b"new\r\n")
    git(edk2, "add", "-A")
    git(edk2, "commit", "-qm", "second")
    return edk2


def read(source: Source, path: str) -> bytes | None:
    return source.store.read(source.tree, path)


def test_a_plain_directory(edk2: Path) -> None:
    (edk2 / ".gitignore").write_text("Build/\n")
    (edk2 / "Build").mkdir()
    (edk2 / "Build" / "big").write_bytes(b"x")
    before = fingerprint(edk2)
    source = directory_source(edk2)
    assert read(source, "OvmfPkg/OvmfPkg.dec") == LANDMARKS["OvmfPkg/OvmfPkg.dec"]
    assert read(source, "Build/big") is None
    assert source.version is None
    assert fingerprint(edk2) == before


def test_uncommitted_changes_and_submodules_are_taken(clone: Path) -> None:
    (clone / "new.c").write_bytes(b"changed\r\n")
    (clone / "CryptoPkg" / "module" / "lib" / "m.c").write_bytes(b"changed too\r\n")
    before = fingerprint(clone)
    source = directory_source(clone)
    assert read(source, "new.c") == b"changed\r\n"
    assert read(source, "CryptoPkg/module/lib/m.c") == b"changed too\r\n"
    assert (source.version, source.missing) == (202502, ())
    assert fingerprint(clone) == before


def test_what_is_committed_is_taken_though_it_is_ignored(clone: Path) -> None:
    """mbedtls names generated files in its .gitignore, and its releases have them."""
    module = clone / "CryptoPkg" / "module"
    for directory in (clone, module):
        write_tree(directory, {".gitignore": b"*.gen\n", "a[1].gen": b"committed\r\n", "left.gen": b"not\r\n"})
        git(directory, "add", ".gitignore")
        git(directory, "--literal-pathspecs", "add", "--force", "a[1].gen")
        git(directory, "commit", "-qm", "generated")
    git(clone, "commit", "-qam", "module")
    for _ in range(2):
        source = directory_source(clone)
        for prefix in ("", "CryptoPkg/module/"):
            assert read(source, f"{prefix}a[1].gen") == b"committed\r\n"
            assert read(source, f"{prefix}left.gen") is None
        assert source.tree == Repository(clone).source(git(clone, "rev-parse", "HEAD")).tree
    (clone / "a[1].gen").write_bytes(b"changed\r\n")
    assert read(directory_source(clone), "a[1].gen") == b"changed\r\n"
    git(clone, "rm", "--quiet", "--cached", ":(literal)a[1].gen")
    assert read(directory_source(clone), "a[1].gen") is None
    git(clone, "reset", "--quiet", "--hard")
    (clone / "a[1].gen").unlink()
    assert read(directory_source(clone), "a[1].gen") is None


def test_the_same_content_is_the_same_tree(clone: Path) -> None:
    first = directory_source(clone)
    (clone / "new.c").write_bytes(b"changed\r\n")
    changed = directory_source(clone)
    (clone / "new.c").write_bytes(b"new\r\n")
    assert changed.tree != first.tree
    assert directory_source(clone).tree == first.tree
    assert Repository(clone).source(git(clone, "rev-parse", "HEAD")).tree == first.tree


def test_commits_are_read_without_a_checkout(clone: Path) -> None:
    before = fingerprint(clone)
    repository = Repository(clone)
    old = repository.source(repository.commit("HEAD~1"))
    assert read(old, "new.c") is None
    assert read(old, "CryptoPkg/module/lib/m.c") == b"m\r\n"
    assert old.version == 202502
    assert repository.subject(repository.commit("HEAD")) == "second"
    assert fingerprint(clone) == before


def test_a_submodule_that_is_not_there_is_named(clone: Path, tmp_path: Path) -> None:
    bare = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(clone), str(bare))
    repository = Repository(bare)
    assert repository.source(repository.commit("HEAD")).missing == ("CryptoPkg/module",)
    assert directory_source(bare).missing == ("CryptoPkg/module",)


def test_what_a_partial_clone_lacks_is_not_the_commits_fault(clone: Path, tmp_path: Path) -> None:
    """Nor is it fetched: the repository is only read."""
    git(clone, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{clone}", str(partial))
    repository = Repository(partial)
    assert read(repository.source(repository.commit("HEAD")), "new.c") == b"new\r\n"
    assert repository.source(repository.commit("HEAD~1")).version == 202502
    (clone / "new.c").write_bytes(b"newer\r\n")
    git(clone, "commit", "-qam", "third")
    git(partial, "fetch", "-q")
    before = fingerprint(partial)
    with pytest.raises(FirmwareError, match="is a partial clone, and lacks 1 files of") as error:
        repository.source(repository.commit("origin/HEAD"))
    assert not isinstance(error.value, SourceError)
    assert fingerprint(partial) == before


def test_what_was_taken_from_a_directory_that_is_gone_goes(edk2: Path, cache: Path, tmp_path: Path) -> None:
    stores = {}
    for name in ("gone", "fresh", "there"):
        write_tree(tmp_path / name, LANDMARKS)
        stores[name] = directory_source(tmp_path / name).store.directory
    for name in ("gone", "fresh"):
        shutil.rmtree(tmp_path / name)
    for name in ("gone", "there"):
        os.utime(stores[name], (1, 1))
    other = directory_source(edk2).store.directory
    assert {path.name for path in (cache / "edk2" / "stores").iterdir() if path.is_dir()} == {
        stores["fresh"].name,
        stores["there"].name,
        other.name,
    }


def test_what_is_no_edk2(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="is not a source of edk2"):
        directory_source(tmp_path)
    with pytest.raises(FirmwareError, match="is not a directory"):
        directory_source(tmp_path / "gone")
    write_tree(tmp_path, LANDMARKS)
    with pytest.raises(FirmwareError, match="is not a git repository"):
        Repository(tmp_path)


def test_what_no_source_has_is_not_taken_in(edk2: Path, tmp_path: Path) -> None:
    """A disk image in the tree; it is not part of the source if .gitignore names it."""
    image = edk2 / "disk.img"
    with image.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(FirmwareError, match=r"disk\.img has 256 MiB"):
        directory_source(edk2)
    (edk2 / ".gitignore").write_text("*.img\n")
    assert read(directory_source(edk2), "disk.img") is None
    assert read(directory_source(edk2), ".gitignore") == b"*.img\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_not_the_commits_fault(edk2: Path) -> None:
    (edk2 / "OvmfPkg" / "OvmfPkg.dec").chmod(0)
    _check_unreadable(edk2)


def test_a_repository_within_that_has_no_commit_is_named(edk2: Path) -> None:
    git(write_tree(edk2 / "within", {"a.c": b"x"}), "init", "-q")
    _check_unreadable(edk2, "'within/' does not have a commit")


def _check_unreadable(edk2: Path, message: str = "cannot read") -> None:
    """It is an error of the machine or the user, for which a bisection does not skip a commit."""
    with pytest.raises(FirmwareError, match=message) as error:
        directory_source(edk2)
    assert not isinstance(error.value, SourceError)


def test_the_callers_git_variables_mean_nothing(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook, and `git bisect run` in a worktree, have them."""
    expected = directory_source(clone).tree
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    assert directory_source(clone).tree == expected
    repository = Repository(clone)
    assert repository.source(repository.commit("HEAD")).tree == expected
    store = Store.open(tmp_path / "store")
    assert store.read(tree_of(store, {"a": b"x"}), "a") == b"x"


@pytest.mark.parametrize("revision", ["gone", "--all", "HEAD^{tree}", ""])
def test_what_is_no_commit(clone: Path, revision: str) -> None:
    with pytest.raises(FirmwareError, match="has no commit"):
        Repository(clone).commit(revision)


def test_the_edit_that_leaves_virtio_net_out(edk2: Path) -> None:
    source = directory_source(edk2).prepared(Recipe())
    guarded = b"!if $(NETWORK_ENABLE) == TRUE\r\n  INF  OvmfPkg/VirtioNetDxe/VirtioNet.inf\r\n!endif\r\n"
    assert read(source, "OvmfPkg/OvmfPkgX64.fdf") == b"[FV.DXEFV]\r\n" + guarded
    assert source.prepared(Recipe()).tree == source.tree
    assert guard_network(b"nothing\n") == b"nothing\n"


IF, END = b"!if $(NETWORK_ENABLE) == TRUE\n", b"!endif\n"
PXE = b"  gEfiNetworkPkgTokenSpaceGuid.PcdIPv4PXESupport|0x01\n"
HTTP = b"  gEfiNetworkPkgTokenSpaceGuid.PcdIPv4HttpSupport|TRUE\n"


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        pytest.param(b"[P]\n" + PXE + b"x\n", b"[P]\n" + IF + PXE + END + b"x\n", id="stable202405, the .dsc"),
        pytest.param(
            b"!if $(NETWORK_ALLOW_HTTP_CONNECTIONS) == TRUE\n" + PXE + END,
            b"!if $(NETWORK_ALLOW_HTTP_CONNECTIONS) == TRUE\n" + IF + PXE + END + END,
            id="stable202405, NetworkPcds.dsc.inc",
        ),
        pytest.param(
            b"!if ($(NETWORK_ENABLE) == TRUE) AND ($(NETWORK_PXE_BOOT_ENABLE) == TRUE)\n" + PXE + END + HTTP,
            b"!if ($(NETWORK_ENABLE) == TRUE) AND ($(NETWORK_PXE_BOOT_ENABLE) == TRUE)\n" + PXE + END + IF + HTTP + END,
            id="stable202508, NetworkDynamicPcds.dsc.inc",
        ),
        pytest.param(IF + b"!if $(X)\n" + PXE + END + END, IF + b"!if $(X)\n" + PXE + END + END, id="after 2025-11-21"),
        pytest.param(b"# gEfiNetworkPkgTokenSpaceGuid.X\n", b"# gEfiNetworkPkgTokenSpaceGuid.X\n", id="a comment"),
    ],
)
def test_the_networks_settings_depend_on_it(text: bytes, guarded: bytes) -> None:
    assert guard_network(text) == guarded
    assert guard_network(guarded) == guarded


def test_a_platform_that_the_source_lacks(edk2: Path) -> None:
    with pytest.raises(SourceError, match=r"has no OvmfPkg/AmdSev/AmdSevX64\.dsc"):
        directory_source(edk2).prepared(Recipe.of("AmdSevX64"))


@pytest.mark.parametrize(
    ("text", "toolchain", "name"),
    [
        (b"*_GCC5_X64_", "GCC", "GCC5"),
        (b"*_GCC_X64_", "GCC", "GCC"),
        (b"*_GCC_X64_ *_CLANGDWARF_X64_", "CLANGDWARF", "CLANGDWARF"),
    ],
)
def test_the_tool_chain_has_the_sources_name(edk2: Path, text: bytes, toolchain: str, name: str) -> None:
    (edk2 / "BaseTools/Conf/tools_def.template").write_bytes(text)
    source = directory_source(edk2)
    assert tool_chain(source.store, source.tree, toolchain) == name


def test_a_tool_chain_that_the_source_lacks(edk2: Path) -> None:
    source = directory_source(edk2)
    with pytest.raises(SourceError, match=r"tools_def\.template has none of CLANGDWARF"):
        tool_chain(source.store, source.tree, "CLANGDWARF")


def test_recipes() -> None:
    assert Recipe.of() == Recipe()
    assert dict(Recipe.of(defines=("NETWORK_ENABLE=TRUE", "X=")).defines) == {
        **DEFAULT_DEFINES,
        "NETWORK_ENABLE": "TRUE",
        "X": "",
    }
    assert Recipe.of(defines=("A=1", "B=2")) == Recipe.of(defines=("B=2", "A=1"))
    assert Recipe.of("OvmfIa32X64", "NOOPT", (), "CLANGDWARF").toolchain == "CLANGDWARF"
    for wrong in (("Other",), ("OvmfX64", "Other"), ("OvmfX64", "DEBUG", (), "Other")):
        with pytest.raises(FirmwareError):
            Recipe.of(*wrong)


@pytest.mark.parametrize(
    "value", ["b c", "$(touch x)", "`x`", "a;b", "a|b", "a&b", '"a"', "'a'", "\\", "a\nb", "ä", "*", "#", "a>b"]
)
def test_a_define_means_nothing_to_make_and_shells(value: str) -> None:
    with pytest.raises(FirmwareError, match="is not a define"):
        Recipe.of(defines=(f"A={value}",))
    for wrong in ("A", "=", "=A", "1A=2", "A B=1", "A-B=1"):
        with pytest.raises(FirmwareError, match="is not a define"):
            Recipe.of(defines=(wrong,))
