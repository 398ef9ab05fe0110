# SPDX-License-Identifier: GPL-2.0-or-later
"""Test rigs in the package. The core does not import them at start-up."""
