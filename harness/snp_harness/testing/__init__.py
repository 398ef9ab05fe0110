# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin and its fixtures."""
