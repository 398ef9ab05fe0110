# SPDX-License-Identifier: GPL-2.0-or-later
"""SNP_HARNESS_EXITS changes what is run."""

from __future__ import annotations

import pytest
from msgspec import structs

from snp_harness.errors import UsageError
from snp_harness.platforms import exit_path
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config_files import load_config
from tests.capture.host_records import FIRMWARE

pytestmark = pytest.mark.usefixtures("own_exits")


def test_the_variable_changes_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("alternate-injection")
    spec = RunSpec(FIRMWARE, svsm=config)  # type: ignore[arg-type]
    assert exit_path.chosen(spec) is spec
    monkeypatch.setenv(exit_path.VARIABLE, "single")
    single = exit_path.chosen(spec)
    assert (single.svsm.svsm.rmp_batches, single.svsm.exits.shortcuts) == (False, False)
    assert structs.replace(single.svsm, svsm=config.svsm, exits=config.exits) == config
    monkeypatch.setenv(exit_path.VARIABLE, "in-place")
    assert exit_path.chosen(spec).svsm.exits == structs.replace(config.exits, in_place=True)
    monkeypatch.setenv(exit_path.VARIABLE, "singel")
    with pytest.raises(UsageError, match="SNP_HARNESS_EXITS is 'singel': it can be single or in-place"):
        exit_path.chosen(spec)
