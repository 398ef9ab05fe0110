# SPDX-License-Identifier: GPL-2.0-or-later
"""The repository of sources in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.edk2.archive import Member
from snp_harness.edk2.git import GitError, Store
from tests.edk2.trees import tree_of

FILES = {"a/one.c": b"1\r\n", "b.h": b"h\n"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "stores" / "store")


def test_a_tree_is_named_by_its_content_alone(store: Store, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    assert store.tree(tree_of(store, FILES)) == other.tree(tree_of(other, dict(reversed(FILES.items()))))
    assert tree_of(store, FILES) == tree_of(other, FILES)
    assert store.tree(tree_of(store, {**FILES, "b.h": b"H\n"})) != store.tree(tree_of(store, FILES))


def test_the_users_configuration_changes_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tree_of(store, FILES)
    (tmp_path / "gitconfig").write_text("[core]\n\tautocrlf = true\n[apply]\n\twhitespace = fix\n[user]\n\tname = Me\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Me")
    assert tree_of(Store.open(tmp_path / "second"), FILES) == expected


def test_what_fails_half_way_leaves_nothing(store: Store) -> None:
    def torn() -> Iterator[Member]:
        yield Member("a", os.urandom(1 << 20))
        raise OSError("the archive ends")

    with pytest.raises(OSError, match="the archive ends"):
        store.import_files(torn(), "torn\n")
    assert [path for path in (store.directory / "objects").rglob("*") if path.is_file()] == []
    assert store.git("for-each-ref").line == ""


def test_edits_write_files_and_put_trees_in_the_place_of_submodules(store: Store) -> None:
    base, module = store.tree(tree_of(store, FILES)), tree_of(store, {"d/m.c": b"m"})
    with store.editing(base) as editor:
        editor.write("b.h", b"new\r\n")
        store.git("update-index", "--add", "--cacheinfo", f"160000,{module},sub/module", index=editor.index)
        assert editor.submodules() == {"sub/module": module}
        editor.graft("sub/module", store.tree(module))
        assert editor.submodules() == {}
        edited = editor.tree()
    assert store.read(edited, "b.h") == b"new\r\n"
    assert store.read(edited, "sub/module/d/m.c") == b"m"
    changed = store.git("diff-tree", "-r", "--name-only", base, edited).line.split()
    assert set(changed) == {"b.h", "sub/module/d/m.c"}


def test_without_git_it_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError, match="git is not installed"):
        store.git("version")


def test_a_revision_is_never_an_option(store: Store) -> None:
    assert store.resolve("--all") is None
