# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initramfs of Debian's packages is made with: packages, kernel modules, libraries, the archive."""
