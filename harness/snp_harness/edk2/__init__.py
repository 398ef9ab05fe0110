# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds firmware from edk2's source: sources as git trees, patch series, workspaces, images cached by content."""
