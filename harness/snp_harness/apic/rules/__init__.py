# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract's rules, one a file; `snp_harness.apic.contract` registers them."""
