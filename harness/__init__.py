# SPDX-License-Identifier: GPL-2.0-or-later
"""snp-harness: boots SEV-SNP firmware under an SVSM and checks when it touches the local APIC."""

__version__ = "0.1.0"
