# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run is if nothing else is requested. Imports nothing: the command line and the pytest plugin load it first."""

from __future__ import annotations

#: The command's name, in front of its messages.
PROGRAM = "snp-harness"
#: Begins a name that refers to a package of a Debian suite.
DEBIAN = "debian:"
#: Debian's suite of what is fetched, and of the source that is built.
DEFAULT_SUITE = "trixie"
DEFAULT_SOURCE = DEBIAN + DEFAULT_SUITE
#: Name of a platform (snp_harness.platforms).
DEFAULT_PLATFORM = "emulated"
#: Names of --until, in the order in which a boot reaches them: a run ends after that phase, or at the prompt.
STAGES = ("sec", "pei", "dxe", "bds", "shell")
#: The same, an operating system, and the guest's end by isa-debug-exit.
GOALS = (*STAGES, "os", "exit")
#: What precedes a regular expression that a run ends at, once the console shows it.
CONSOLE_GOAL = "console:"
DEFAULT_UNTIL = "sec"
#: Seconds of wall time.
DEFAULT_TIMEOUT_S = 120.0
#: How often `conformance` runs again without a point that ended the run.
DEFAULT_AGAIN = 4
