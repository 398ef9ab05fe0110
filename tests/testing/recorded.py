# SPDX-License-Identifier: GPL-2.0-or-later
"""A project whose boots are recordings: the plugin and everything behind it are real, but no QEMU is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.timeline import Timeline
from tests.apic import samples
from tests.firmware import builder

CONFTEST = """
    import pytest
    from pathlib import Path
    from snp_harness.apic.timeline import Timeline
    from snp_harness.firmware_run import PreparedBoot
    from snp_harness.platforms import find_platform
    from snp_harness.platforms.platform import RunOutcome

    HERE = Path(__file__).parent

    def recorded(boot, directory, _follow):
        directory.write_json("configuration.json", {"injection": boot.spec.svsm.alternate_injection})
        with (HERE / f"{boot.spec.image.path.stem}.jsonl").open() as stream:
            return RunOutcome(Timeline.from_jsonl(stream))

    @pytest.fixture(autouse=True, scope="session")
    def recordings():
        with pytest.MonkeyPatch.context() as patch:
            for name in ("emulated", "tcg"):
                patch.setattr(type(find_platform(name)), "probe", lambda *_: [])
            patch.setattr(PreparedBoot, "_outcome", recorded)
            yield
"""


def recording(pytester: pytest.Pytester, name: str, timeline: Timeline) -> None:
    """Add a firmware, and the timeline of each of its boots."""
    (pytester.path / f"{name}.fd").write_bytes(builder.image())
    (pytester.path / f"{name}.jsonl").write_text(timeline.to_jsonl(), encoding="utf-8")


def project(pytester: pytest.Pytester, tests: str) -> Path:
    """Make a project with the firmware stock.fd, which breaks the contract in SEC, and fixed.fd, which does not.

    Returns the file of its tests.
    """
    pytester.makeconftest(CONFTEST)
    recording(pytester, "stock", samples.timeline(samples.stock_sec()))
    recording(pytester, "fixed", samples.timeline(samples.fixed_sec()))
    return pytester.makepyfile(tests)
