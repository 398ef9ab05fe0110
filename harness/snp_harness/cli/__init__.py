# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command: its grammar, one file a sub-command, progress and what is printed."""
