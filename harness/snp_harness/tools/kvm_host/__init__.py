# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested KVM host: a Debian kernel with KVM, QEMU and Python, as an image for QEMU TCG: docs/nested.md."""
