# SPDX-License-Identifier: GPL-2.0-or-later
"""The certificates for the emulated security processor's key: a chain of this project's own, which proves nothing.

The hypervisor gives them to a guest that asks for them (harness/emulator/hypervisor/certificates.S).
tests/helpers/attestation_chain.py says what is in them.
"""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "test_chain"
_LINE = 64
#: As verifying tools call their files.
NAMES = ("ark", "ask", "vcek")


def pem(name: str) -> bytes:
    """Return a certificate, one of NAMES."""
    der = (_DIRECTORY / f"{name}.der").read_bytes()
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), _LINE)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")).encode("ascii")
