# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested KVM host: an image of a Debian kernel with KVM, QEMU and Python for QEMU TCG (docs/nested.md)."""
