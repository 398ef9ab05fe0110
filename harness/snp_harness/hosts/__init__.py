# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts: where QEMU runs. This machine, or one that is reached over a byte stream to the agent."""
