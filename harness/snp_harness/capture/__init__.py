# SPDX-License-Identifier: GPL-2.0-or-later
"""The witnesses of a run, and the conversion of their records to a timeline (docs/log.md)."""
