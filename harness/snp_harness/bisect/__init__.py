# SPDX-License-Identifier: GPL-2.0-or-later
"""Bisecting edk2: the search by `git bisect`, a step, the log, the report."""
