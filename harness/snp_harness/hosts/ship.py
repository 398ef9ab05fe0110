# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends files to a host: in pieces, and only those that its store does not hold.

Two ROMs of a firmware differ in a page, so the store holds most of a ROM after the first run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from snp_harness.hosts.answers import Missing, checked
from snp_harness.hosts.link import Link

PIECE = 256 << 10
#: Timeout of the transfer of a file, seconds: an IGVM file of 16 MiB over a slow line.
_SHIP_S = 600.0


def ship(link: Link, run: str, files: Mapping[str, Path], opened: Future[Any]) -> None:
    """Make the files, by name, in a run directory of the agent. Raises HarnessError.

    opened: the future of the request that opens the run directory.
    """
    contents = {name: _pieces(path.read_bytes()) for name, path in files.items()}
    pieces = {digest: piece for made in contents.values() for digest, piece in made}
    has = link.ask("has", sha256=list(pieces))
    link.result(opened, "open")
    missing = set(checked(link.name, "has", link.result(has, "has"), Missing).missing) & set(pieces)
    waiting = [("a piece of a file", link.put(digest, pieces[digest])) for digest in missing]
    for name, made in contents.items():
        parts = [digest for digest, _ in made]
        waiting.append((f"the file {name}", link.ask("place", run=run, name=name, parts=parts)))
    for what, future in waiting:
        link.result(future, what, _SHIP_S)


def _pieces(data: bytes) -> list[tuple[str, bytes]]:
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    return [(hashlib.sha256(piece).hexdigest(), piece) for piece in pieces]
