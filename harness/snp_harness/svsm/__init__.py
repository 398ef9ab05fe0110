# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM: numbers of its protocols and of SEV-SNP around it, and the configuration model (svsm_configs/)."""
