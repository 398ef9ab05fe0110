# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts QEMU and reads its output, on this machine and, as a part of the agent, on others.

It uses only the standard library of Python 3.9 or newer, and nothing of the harness outside this package.
"""
