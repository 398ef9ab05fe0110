# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting a QEMU and reading what it says. Standard library only, Python 3.9: it is also sent to other machines."""
