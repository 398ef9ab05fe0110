# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory in which runs make theirs, and the link in it to the latest one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec import Struct

DEFAULT_PARENT = Path("runs")
LATEST = "latest"
IGNORE = ".gitignore"


class Latest(Struct, frozen=True):
    """The link to the latest run. It does not exist where another file has its name, or without symbolic links."""

    link: Path
    before: str | None

    @classmethod
    def point(cls, parent: Path, path: Path) -> Latest:
        """Point the link to `path`."""
        link = parent / LATEST
        latest = cls(link, str(link.readlink()) if link.is_symlink() else None)
        latest._replace(path.name)
        return latest

    def restore(self, path: Path) -> None:
        """Point the link to the run before, because `path` was removed; unless it points to another run by now."""
        if not self.link.is_symlink() or str(self.link.readlink()) != path.name:
            return
        if self.before is not None and (self.link.parent / self.before).is_dir():
            self._replace(self.before)
        else:
            self.link.unlink()

    def _replace(self, target: str) -> None:
        """Change the link in one step, so that it always exists for its readers."""
        if self.link.exists() and not self.link.is_symlink():
            return
        temporary = self.link.parent / f".{Path(target).name}.link"
        with contextlib.suppress(OSError):
            temporary.symlink_to(target)
            temporary.replace(self.link)


def make_parent(path: Path) -> Path:
    """Make a directory for runs. git ignores a new one: the current directory may be a work tree of the user's."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        _ignore(path)
    return path


def remove_parent(path: Path) -> None:
    """Remove a directory for runs, unless another run uses it by now."""
    (path / IGNORE).unlink()
    try:
        path.rmdir()
    except OSError:
        _ignore(path)


def _ignore(path: Path) -> None:
    (path / IGNORE).write_text("*\n")
