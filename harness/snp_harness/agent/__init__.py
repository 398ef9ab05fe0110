# SPDX-License-Identifier: GPL-2.0-or-later
"""The far side of a host: a program that is sent to it over a byte stream, starts QEMU there and streams all home.

Standard library only, Python 3.9 or newer, nothing of the harness outside this package: it runs where nothing of ours
is installed.
"""
