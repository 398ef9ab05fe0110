# SPDX-License-Identifier: GPL-2.0-or-later
"""The questions that COCONUT's tests ask on COM4, a byte each (its scripts/test-in-svsm.sh), and the answers."""

from __future__ import annotations

from collections.abc import Callable

NOTHING, LAUNCH_MEASUREMENT, STATE_DIGEST, VSOCK_SERVER = range(4)
_ABSENT = {
    STATE_DIGEST: "the digest of a virtio disk, which the emulated host does not have",
    VSOCK_SERVER: "a virtio-vsock server, which the emulated host does not have",
}
#: Questions without an answer that are remembered.
_REFUSED_MAX = 8


class Questions:
    """Answers the questions of one image. refused: those without an answer, in words.

    measured: returns the launch digest that the image is to have.
    """

    def __init__(self, measured: Callable[[], bytes]) -> None:
        self._measured = measured
        self.refused: list[str] = []

    def __call__(self, question: int) -> bytes:
        """Return the answer to a byte, empty where there is none."""
        if question == LAUNCH_MEASUREMENT:
            return self._measured()
        if question != NOTHING and len(self.refused) < _REFUSED_MAX:
            self.refused.append(f"asked on COM4 for {_ABSENT.get(question, f'{question:#x}, which is unknown')}")
        return b""
