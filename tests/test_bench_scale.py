# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

from bench.scale import Boot, Read, read_long, table
from snp_harness.capture.condense import ACCESS_LIMIT
from snp_harness.platforms import kept_run

RUN = {
    "version": kept_run.VERSION,
    "platform": "emulated",
    "firmware": {"path": "F.fd", "offset": 0, "size": 0},
    "vcpus": 1,
    "guest_vmpl": 2,
    "alternate_injection": False,
    "svsm": True,
    "apic_protocol": False,
    "faults": [],
}


def test_a_long_log_is_read_in_another_process(tmp_path: Path) -> None:
    """Each access is two records, after the one of the start; the first accesses are all listed."""
    one = read_long(1001, json.dumps(RUN).encode(), tmp_path / "one")
    assert (one.records, one.accesses) == (1001, 500)
    assert one.accesses < ACCESS_LIMIT
    assert one.cpu_s > 0
    assert one.memory_mib > 10
    lines = (tmp_path / "one" / "timeline.jsonl").read_text().splitlines()
    assert sum('"EOI"' in line for line in lines) == 500


def test_the_table() -> None:
    boots = {1: Boot(1.0, 1.0, 1000, 10), 2: Boot(1.1, 1.1, 1500, 20), 4: Boot(1.3, 1.3, 2200, 30)}
    reads = [Read(100, 0.5, 100.0, 50), Read(1000, 5.0, 112.0, 60)]
    text = table(boots, Boot(1.0, 1.5, 1000, 1010), reads)
    assert "    4      1.30      1.30      2200                    400" in text
    assert "1.50 CPU s and not 1.00, 1010 records and not 10: 500.0 us a record" in text
    assert "memory of the longest against the shortest: 1.12x, aim 1.10x: not met" in text
