# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command: main starts it, one file a sub-command has its grammar and what it does."""
