# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts on which QEMU runs: this machine, or one that is reached through its agent over a byte stream."""
