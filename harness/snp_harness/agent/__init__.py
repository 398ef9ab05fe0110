# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent: a program that is sent to a host over a byte stream, starts QEMU there and returns its output.

It uses only the standard library of Python 3.9 or newer, this package and snp_harness/launch: the harness need not be
installed on the host.
"""
