# SPDX-License-Identifier: GPL-2.0-or-later
"""The store and the run directories: private, atomic, bounded, and cleared of the files of dead agents."""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.agent import files
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import RunDirectories, Store, file_name


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def keep(store: Store, content: bytes) -> str:
    store.put(digest(content), content)
    return digest(content)


def test_contents_are_kept_by_their_hash(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = b"first", b"second" * 1000
    assert store.missing([digest(first), digest(second)]) == [digest(first), digest(second)]
    keep(store, first)
    assert store.missing([digest(first), digest(second)]) == [digest(second)]
    keep(store, second)
    assert store.join([digest(first), digest(second), digest(first)], tmp_path / "joined") == 6010
    assert (tmp_path / "joined").read_bytes() == first + second + first
    assert Store(tmp_path / "store").missing([digest(first)]) == []
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "store").iterdir()}
    assert (modes, (tmp_path / "store").stat().st_mode & 0o777) == ({0o600}, 0o700)


def test_what_is_not_the_announced_content_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(AgentError, match="is not the content"):
        store.put(digest(b"a"), b"b")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("given", ["", "..", "../x", "x" * 64, "A" * 64, "0" * 63, 7, None])
def test_what_is_no_hash_is_no_path(given: object, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(AgentError, match="is not a SHA-256"):
        store.missing([given])  # type: ignore[list-item]
    with pytest.raises(AgentError, match="is not a SHA-256"):
        store.join([given], tmp_path / "joined")  # type: ignore[list-item]


@given(st.text(max_size=70))
def test_a_file_name_is_in_its_directory(name: str) -> None:
    try:
        checked = file_name(name)
    except AgentError:
        return
    assert (Path("/run") / checked).parent == Path("/run")
    assert checked not in (".", "..", "")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", ".hidden", "a\0b", "a" * 65, None, 3])
def test_what_is_no_file_name(name: object) -> None:
    with pytest.raises(AgentError, match="not the name of a file"):
        file_name(name)


def test_a_store_that_others_can_write(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)
    with pytest.raises(AgentError, match="can be written by others") as caught:
        Store(tmp_path / "store")
    assert caught.value.kind == "permission"


def test_the_oldest_unused_go(tmp_path: Path) -> None:
    old = Store(tmp_path / "store")
    names = [keep(old, bytes([number]) * 1000) for number in range(6)]
    for age, name in enumerate(names):
        os.utime(tmp_path / "store" / name, (age, age))
    store = Store(tmp_path / "store", limit=3000)
    # A content that is requested now is kept, however old.
    assert store.missing([names[0]]) == []
    (tmp_path / "store" / ".half").write_bytes(b"x")
    os.utime(tmp_path / "store" / ".half", (0, 0))
    store.tidy()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {names[0], names[4], names[5]}


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    content = b"x" * 100_000
    # In a separate process: not every user can raise the limit again.
    code = """
import resource, sys
from pathlib import Path
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import Store
import hashlib
content = b"x" * 100_000
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
store = Store(Path(sys.argv[1]))
try:
    store.put(hashlib.sha256(content).hexdigest(), content)
except AgentError as error:
    print(error.kind, error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "store"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("disk the host's disk is full: cannot write ")
    assert list((tmp_path / "store").iterdir()) == []
    assert store.missing([digest(content)]) == [digest(content)]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000


def test_a_file_that_cannot_be_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    name = keep(store, b"12345")
    with pytest.raises(AgentError, match="cannot write"):
        store.join([name, digest(b"not there")], tmp_path / "joined")
    monkeypatch.setattr(files, "FILE_MAX", 9)
    with pytest.raises(AgentError, match="would have 10 bytes"):
        store.join([name, name], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_run_directories_of_the_dead_are_removed_and_no_others(tmp_path: Path) -> None:
    living = RunDirectories(tmp_path / "runs")
    kept = living.create()
    code = """
import sys, time
from pathlib import Path
from snp_harness.agent.files import RunDirectories
path = RunDirectories(Path(sys.argv[1])).create()
(path / "file").write_text("x")
print(path, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "runs"], stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout is not None
        left = Path(dying.stdout.readline().strip())
        RunDirectories(tmp_path / "runs")
        assert left.is_dir()
        dying.send_signal(signal.SIGKILL)
    assert (left / "file").exists()
    RunDirectories(tmp_path / "runs")
    assert not left.exists()
    assert kept.is_dir()
    living.remove(kept)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_directory_is_locked_from_the_start(tmp_path: Path) -> None:
    path = RunDirectories(tmp_path / "runs").create()
    assert path.stat().st_mode & 0o777 == 0o700
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
