# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware images: what is in them, where they are found, and where they come from."""
