# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest: Debian's cloud kernel, a small userland with OpenSSH, and the keys of a run (docs/linux-guest.md)."""
