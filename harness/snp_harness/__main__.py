# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m snp_harness`: the `snp-harness` command."""

from __future__ import annotations

import sys

from snp_harness.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
