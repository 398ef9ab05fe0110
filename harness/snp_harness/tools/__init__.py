# SPDX-License-Identifier: GPL-2.0-or-later
"""Test rigs that come with the package; nothing of the core imports them at start-up."""
