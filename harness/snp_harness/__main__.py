# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command as a program, also as `python -m snp_harness`."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the command handles it, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

from snp_harness.cli.main import main


def command() -> int:
    """Run the command and return its exit status."""
    return main()


if __name__ == "__main__":
    sys.exit(command())
