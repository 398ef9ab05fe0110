# SPDX-License-Identifier: GPL-2.0-or-later
"""An error of the harness itself: its traceback goes to a file, and the user gets the file's path."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

from snp_harness.version import build
from snp_harness.vm.rundir import TRACEBACK


def save_traceback(error: BaseException, directory: Path | None) -> Path | str:
    """Write the traceback into the run directory, or into a private temporary file without one.

    Returns the file's path, or the traceback on one line if it cannot be written.
    """
    text = f"snp-harness {build().version}\n" + "".join(traceback.format_exception(error))
    try:
        if directory is None:
            handle, name = tempfile.mkstemp(prefix="snp-harness-", suffix=f"-{TRACEBACK}")
            path = Path(name)
        else:
            path = directory / TRACEBACK
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return " | ".join(text.split("\n"))
    return path
