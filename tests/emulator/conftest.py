# SPDX-License-Identifier: GPL-2.0-or-later
"""Test drivers of the emulated host's pure parts: compiled once a session, one process each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.crypto import SOURCES as CRYPTO_SOURCES
from tests.emulator.crypto import Crypto
from tests.emulator.insn import SOURCES as INSN_SOURCES
from tests.emulator.insn import Decoder
from tests.emulator.native import compile_driver
from tests.emulator.vapic import SOURCES as VAPIC_SOURCES
from tests.emulator.vapic import Vapic


@pytest.fixture(scope="session")
def vapic_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vapic]:
    """The virtual APIC's driver; its state is what the test before left. For hypothesis, which resets it itself."""
    program = compile_driver(tmp_path_factory.mktemp("vapic"), "vapic_driver.c", *VAPIC_SOURCES)
    with Vapic(program) as vapic:
        yield vapic


@pytest.fixture
def vapic(vapic_process: Vapic) -> Vapic:
    """A virtual APIC after reset: APIC ID 0, boot processor, with x2APIC and TSC deadline, 48 address bits."""
    vapic_process.reset()
    return vapic_process


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    """The instruction decoder's driver; it has no state."""
    program = compile_driver(tmp_path_factory.mktemp("insn"), "insn_driver.c", *INSN_SOURCES)
    with Decoder(program) as decoder:
        yield decoder


@pytest.fixture(scope="session")
def crypto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crypto]:
    """The driver of the security processor's arithmetic; each command loads what it uses."""
    program = compile_driver(tmp_path_factory.mktemp("crypto"), "crypto_driver.c", *CRYPTO_SOURCES)
    with Crypto(program) as crypto:
        yield crypto
