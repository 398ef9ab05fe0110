# SPDX-License-Identifier: GPL-2.0-or-later
"""Bisecting edk2: the search, a step, the log, the report."""
