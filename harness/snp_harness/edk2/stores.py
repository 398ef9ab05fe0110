# SPDX-License-Identifier: GPL-2.0-or-later
"""The repositories of the cache for users' sources: one for each directory or repository of the user."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from snp_harness.debian.cache import cache_root, remove, writing
from snp_harness.edk2.git import Store

#: The file with the path of its origin.
_ORIGIN = "origin"
#: Seconds after which a repository whose origin is gone cannot be in use by a build.
_UNUSED_S = 24 * 3600


def user_store(path: Path) -> Store:
    """Return the store of a user's directory or repository, made if it is missing; raises GitError, FetchError.

    Stores whose directory is gone, and that have not been used for long, are removed: each has 100 MB.
    """
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    store = Store.open(cache_root() / "edk2" / "stores" / name)
    with writing(store.directory):
        (store.directory / _ORIGIN).write_bytes(os.fsencode(path))
        os.utime(store.directory)
    _prune(store.directory)
    return store


def _prune(current: Path) -> None:
    for path in current.parent.iterdir():
        with contextlib.suppress(OSError):
            origin = Path(os.fsdecode((path / _ORIGIN).read_bytes()))
            unused = time.time() - path.stat().st_mtime > _UNUSED_S
            if unused and path != current and not origin.exists():
                remove(path)
                path.with_suffix(".lock").unlink(missing_ok=True)
