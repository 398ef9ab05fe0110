# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of a run: for the terminal and as JSON. They know the verdict and the timeline, never QEMU."""
