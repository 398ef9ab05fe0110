# SPDX-License-Identifier: GPL-2.0-or-later
"""The witnesses of a run, and how their records become a timeline (docs/log.md)."""
