# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of the series, and edk2's checker of them."""

from __future__ import annotations

from tests.ovmf_patches.conftest import SERIES

#: What is meant for upstream, and what upstream has by now.
SENT = sorted(SERIES.parent.glob("*.patch"))
BACKPORTS = sorted((SERIES.parent / "backports").glob("*.patch"))
PATCHES = [*BACKPORTS, *SENT]
COVER_LETTER = SERIES.with_name("cover-letter.md")
CHECKER = "BaseTools/Scripts/PatchCheck.py"
