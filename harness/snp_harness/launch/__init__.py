# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting a QEMU and reading what it writes, on this machine and, sent there with the agent, on others.

Standard library only, Python 3.9 or newer, nothing of the harness outside this package.
"""
