# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources of edk2 as trees in a git repository of the cache: composed, patched and compared without a work tree.

A tree's name is a hash of its content, so caches use it as the key of a source with its patches. git applies patches
exactly: without fuzz or offsets, and with unchanged line endings.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import TEMPORARY, make_directory, remove, writing
from snp_harness.edk2.archive import Member
from snp_harness.edk2.source_errors import SourceError
from snp_harness.errors import BrokenEnvironmentError

#: A large import on a busy machine takes half a minute.
_TIMEOUT_S = 900
_FULL = "No space left on device"
#: The user's and the system's configuration are not read: a filter, a hook or autocrlf would change the source.
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_NAME": "snp-harness",
    "GIT_AUTHOR_EMAIL": "snp-harness@localhost",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "snp-harness",
    "GIT_COMMITTER_EMAIL": "snp-harness@localhost",
    "GIT_COMMITTER_DATE": "@0 +0000",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
}
#: Files are not converted.
_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding\n"
_SETTINGS = (("core.compression", "1"), ("gc.auto", "0"), ("core.hooksPath", os.devnull), ("core.fsmonitor", "false"))


class GitError(BrokenEnvironmentError):
    """git is not installed, or failed."""


class PatchError(SourceError):
    """A patch does not apply to a source."""


@dataclass(frozen=True, slots=True)
class GitResult:
    """The result of a git command. said: its stderr on one line."""

    status: int
    stdout: bytes
    said: str

    @property
    def line(self) -> str:
        """stdout without its newline."""
        return self.stdout.decode(errors="replace").strip()


def git(
    *arguments: str | Path, directory: Path, input: bytes | None = None, environment: dict[str, str] | None = None
) -> GitResult:
    """Run git in a directory without the user's configuration; raises GitError: git missing, hanging, or disk full."""
    try:
        done = subprocess.run(
            ["git", *map(str, arguments)],
            input=input if input is not None else b"",
            capture_output=True,
            timeout=_TIMEOUT_S,
            cwd=directory,
            env=git_environment(**(environment or {})),
            check=False,
        )
    except FileNotFoundError:
        raise GitError("git is not installed", "sources are kept with it: apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise GitError(
            f"git {arguments[0]} did not end within {_TIMEOUT_S} s", "check the disk, and try again"
        ) from None
    except OSError as error:
        raise GitError(f"cannot run git: {error.strerror}", "check the machine") from None
    said = " ".join(done.stderr.decode(errors="replace").split())[:400]
    if done.returncode and _FULL in said:
        raise GitError(f"the disk is full: {said}", "free some space, or set XDG_CACHE_HOME to another directory")
    return GitResult(done.returncode, done.stdout, said)


def git_environment(**more: str) -> dict[str, str]:
    """The environment of every git that the harness starts: the caller's without git's own variables. more: added."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**inherited, **_ENVIRONMENT, **more}


class Store:
    """A bare repository in the cache. Its objects do not change, so many processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open the store in a directory, or make it; raises GitError."""
        if (directory / "HEAD").is_file():
            return cls(directory)
        make_directory(directory.parent)
        with writing(directory.parent):
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=directory.parent))
        try:
            store = cls(temporary)
            store.git("init", "--quiet", "--bare", "--template=", ".")
            for name, value in _SETTINGS:
                store.git("config", name, value)
            with writing(temporary):
                (temporary / "info").mkdir(exist_ok=True)
                (temporary / "info" / "attributes").write_text(_ATTRIBUTES)
                # Another process may have made it meanwhile.
                with contextlib.suppress(OSError):
                    temporary.rename(directory)
        finally:
            remove(temporary)
        return cls(directory)

    def borrow(self, objects: Sequence[Path]) -> None:
        """Make the objects of other repositories readable through the store."""
        alternates = self.directory / "objects" / "info" / "alternates"
        text = "".join(f"{path}\n" for path in objects)
        with writing(self.directory):
            alternates.parent.mkdir(exist_ok=True)
            if not alternates.is_file() or alternates.read_text() != text:
                # At once: another process may be reading objects.
                temporary = alternates.with_name(f"{TEMPORARY}{os.getpid()}")
                temporary.write_text(text)
                temporary.replace(alternates)

    def end_history_at(self, shallow: Path) -> None:
        """End the history where that of another repository ends. shallow: that repository's file of this name."""
        own = self.directory / "shallow"
        with writing(self.directory), contextlib.suppress(FileExistsError):
            own.symlink_to(shallow)

    def git(self, *arguments: str | Path, input: bytes | None = None, index: Path | None = None) -> GitResult:
        """Run git on the store; raises GitError if it fails."""
        result = self.ask(*arguments, input=input, index=index)
        if result.status:
            raise GitError(f"git {arguments[0]} failed in {self.directory}: {result.said}", "remove that directory")
        return result

    def ask(
        self,
        *arguments: str | Path,
        input: bytes | None = None,
        index: Path | None = None,
        work_tree: Path | None = None,
    ) -> GitResult:
        """Run git on the store; its exit status is returned."""
        environment = {"GIT_DIR": str(self.directory)}
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        if work_tree is not None:
            environment["GIT_WORK_TREE"] = str(work_tree)
        return git(*arguments, directory=work_tree or self.directory, input=input, environment=environment)

    def resolve(self, revision: str) -> str | None:
        """Return the object of a name, None if there is none."""
        result = self.ask("rev-parse", "--quiet", "--verify", "--end-of-options", revision)
        return None if result.status else result.line

    def tree(self, revision: str) -> str:
        """Return the tree of a commit; raises GitError."""
        found = self.resolve(f"{revision}^{{tree}}")
        if found is None:
            raise GitError(f"{self.directory} has no {revision}", "remove that directory")
        return found

    def name(self, reference: str, revision: str) -> None:
        """Name an object refs/..., which also keeps it."""
        self.git("update-ref", reference, revision)

    def commit(self, tree: str, message: str, parents: Sequence[str] = ()) -> str:
        """Make a commit of a tree; it depends on tree, message and parents only."""
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        return self.git("commit-tree", tree, *arguments, input=message.encode()).line

    def read(self, tree: str, path: str) -> bytes | None:
        """Return the content of a file in a tree, None if it has no such file."""
        result = self.ask("cat-file", "blob", f"{tree}:{path}")
        return None if result.status else result.stdout

    def import_files(self, members: Iterable[Member], message: str) -> str:
        """Make a commit of an archive's files; raises the errors of reading it, and then makes none."""
        reference = f"refs/import/{os.getpid()}"
        process = subprocess.Popen(
            ["git", "fast-import", "--quiet", "--done", "--force"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=git_environment(GIT_DIR=str(self.directory)),
        )
        assert process.stdin is not None
        assert process.stderr is not None
        with process:
            try:
                write = process.stdin.write
                text = message.encode()
                write(f"commit {reference}\ncommitter snp-harness <snp-harness@localhost> 0 +0000\n".encode())
                write(b"data %d\n%s\n" % (len(text), text))
                for member in members:
                    write(b"M %s inline %s\n" % (member.git_mode.encode(), os.fsencode(member.path)))
                    write(b"data %d\n%s\n" % (len(member.data), member.data))
                write(b"done\n")
                process.stdin.close()
            except BrokenPipeError:
                pass
            except BaseException:
                process.kill()
                with contextlib.suppress(OSError):
                    process.stdin.close()
                for left in (self.directory / "objects" / "pack").glob("tmp_*"):
                    remove(left)
                raise
            said = " ".join(process.stderr.read().decode(errors="replace").split())[:400]
        if process.returncode:
            hint = "free some space, or set XDG_CACHE_HOME to another directory" if _FULL in said else "try again"
            raise GitError(f"git cannot import the source: {said}", hint)
        commit = self.git("rev-parse", reference).line
        self.git("update-ref", "-d", reference)
        return commit

    @contextlib.contextmanager
    def editing(self, tree: str) -> Iterator[TreeEditor]:
        """Return an editor that starts with a tree."""
        with tempfile.TemporaryDirectory(prefix="snp-harness-index-") as directory:
            editor = TreeEditor(self, Path(directory) / "index")
            self.git("read-tree", tree, index=editor.index)
            yield editor


@dataclass(frozen=True, slots=True)
class TreeEditor:
    """Edits a tree in a separate index, without a work tree."""

    store: Store
    index: Path

    def apply(self, patch: bytes, name: str) -> None:
        """Apply a patch exactly; raises PatchError without applying any part of it."""
        result = self._apply(patch)
        if result.status:
            hint = "it is for another version"
            if self._apply(patch, "--check", "--ignore-whitespace").status == 0:
                hint = "its line endings or other white space are not the source's: mailers and autocrlf change them"
            raise PatchError(f"{name} does not apply: {result.said.removeprefix('error: ')}", hint)

    def applies(self, patch: bytes, *, reverse: bool = False) -> bool:
        """Return whether a patch applies; reverse: whether it can be reverted, so is already in the source."""
        return self._apply(patch, "--check", *(("--reverse",) if reverse else ())).status == 0

    def write(self, path: str, content: bytes) -> None:
        """Replace a file's content, or add a file."""
        blob = self.store.git("hash-object", "-w", "--stdin", input=content).line
        self.store.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", index=self.index)

    def graft(self, path: str, tree: str) -> None:
        """Replace a submodule by a tree."""
        prefix = os.fsencode(path)
        entries = self.store.git("ls-tree", "-r", "-z", tree).stdout.split(b"\0")
        grafted = [entry.replace(b"\t", b"\t" + prefix + b"/", 1) for entry in entries if entry]
        self._update([_removed(path), *grafted])

    def leave_out(self, paths: Iterable[str]) -> None:
        """Remove files."""
        self._update([_removed(path) for path in paths])

    def links(self) -> dict[str, str]:
        """The targets of the symbolic links, by path."""
        return {
            path: os.fsdecode(self.store.git("cat-file", "blob", name).stdout)
            for path, name in self._of_mode(b"120000").items()
        }

    def submodules(self) -> dict[str, str]:
        """The commits of the submodules, by path."""
        return self._of_mode(b"160000")

    def tree(self) -> str:
        """Write the present tree and return its name."""
        return self.store.git("write-tree", index=self.index).line

    def _update(self, lines: Sequence[bytes]) -> None:
        """Change entries of the index, each as `git ls-tree` has it."""
        if lines:
            self.store.git("update-index", "-z", "--index-info", input=b"\0".join(lines) + b"\0", index=self.index)

    def _of_mode(self, mode: bytes) -> dict[str, str]:
        entries = self.store.git("ls-files", "--stage", "-z", index=self.index).stdout.split(b"\0")
        found = (entry.split(b"\t", 1) for entry in entries if entry.startswith(mode + b" "))
        return {os.fsdecode(path): description.split()[1].decode() for description, path in found}

    def _apply(self, patch: bytes, *options: str) -> GitResult:
        return self.store.ask("apply", "--cached", "--whitespace=nowarn", *options, "-", input=patch, index=self.index)


def _removed(path: str) -> bytes:
    return b"0 %s\t%s" % (b"0" * 40, os.fsencode(path))
