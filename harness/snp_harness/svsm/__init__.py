# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM: numbers of its protocols and of SEV-SNP, the configuration model (svsm_configs/), and IGVM files."""
