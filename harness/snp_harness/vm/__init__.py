# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process: the binary, its command line, QMP, consoles, and the directory of a run."""
