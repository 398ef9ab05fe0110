# SPDX-License-Identifier: GPL-2.0-or-later
"""The domain: local APIC registers, APIC_BASE modes, accesses, the timeline, the contract and its verdict. No I/O."""
