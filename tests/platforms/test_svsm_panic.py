# SPDX-License-Identifier: GPL-2.0-or-later
"""An SVSM that panics under the emulated host: the run names it, and the track of VMPL0 shows what it did before."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.platforms.svsm_console import SvsmPanicError
from tests.helpers.reference_svsm import SYMBOLS, UD2, patch_svsm
from tests.platforms.boots import boot

pytestmark = pytest.mark.emulated


def test_a_panic_is_named_and_the_guest_was_not_started(
    trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_svsm(monkeypatch, "nae_create_vmsa", UD2)
    result = boot(trixie_path, tmp_path / "out", svsm_symbols=(SYMBOLS,))
    assert isinstance(result.error, SvsmPanicError)
    assert result.error.message.startswith("the SVSM panicked: exception 6, error code 0, at offset ")
    events = {event.kind: event for event in result.timeline.events}
    assert events["svsm-stage"].fields["stage"] == "started"
    assert events["svsm-stage"].fields["known"] == "located"
    assert "(ghcb_" in events["svsm-stage"].text
    assert events["svsm-termination"].text.startswith("the SVSM asked to be ended, reason set 7, reason 1")
    assert events["svsm-activity"].fields["rmpadjusts"]
