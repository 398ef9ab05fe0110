# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness matrix`: firmwares under configurations, what is expected of them, and what changed since the last."""
