# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance guest: its image, its run, its TAP."""
