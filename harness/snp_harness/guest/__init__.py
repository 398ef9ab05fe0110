# SPDX-License-Identifier: GPL-2.0-or-later
"""Living guests: a boot that goes on while its caller looks into it."""
