# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware images: their contents, and how they are found."""
