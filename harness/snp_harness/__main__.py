# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command as a program, also as `python -m snp_harness`."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the command handles it, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import atexit
import gc
import os
import sys

from snp_harness.cli.main import main

#: New objects after which Python looks for garbage. Modules and the records of a run are not garbage; with
#: Python's own number, 700, the search takes a tenth of the start.
_GARBAGE = 50_000


class _Exit:
    """Ends the process without freeing its modules and objects one by one, which takes a tenth of a second.

    status: of the command; while it is None, Python exits as usual.
    """

    status: int | None = None

    def __call__(self) -> None:
        if self.status is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            # Python reports it, and has an exit status for it.
            return
        os._exit(self.status)


def command() -> int:
    """Run the command and return its exit status."""
    gc.set_threshold(_GARBAGE)
    leave = _Exit()
    # The first function that is registered is called last, when no other thread runs any more.
    atexit.register(leave)
    leave.status = main()
    return leave.status


if __name__ == "__main__":
    sys.exit(command())
