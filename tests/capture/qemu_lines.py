# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of QEMU's trace, and the timeline of them."""

from __future__ import annotations

from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.trace_timeline import NOT_OBSERVED, WITNESS, TraceTimeline

#: QEMU 7.2.22, OVMF 2025.02: SEC and the first of PEI; mr addresses shortened.
RECORDED_7_2 = b"""\
1@1795419451.869679:memory_region_ops_read cpu 0 mr 0x55 addr 0xcf8 value 0x0 size 4 name 'pci-conf-idx'
1@1795419451.870900:cpu_get_apic_base 0x00000000fee00900
1@1795419451.870953:apic_mem_readl 0xf0 = 0x000000ff
1@1795419451.870955:memory_region_ops_read cpu 0 mr 0x55 addr 0xfee000f0 value 0xff size 4 name 'apic-msi'
1@1795419451.871049:memory_region_ops_write cpu 0 mr 0x55 addr 0xfee000f0 value 0x1ff size 4 name 'apic-msi'
1@1795419451.871051:apic_mem_writel 0xf0 = 0x000001ff
1@1795419451.872000:memory_region_ops_write cpu 0 mr 0x55 addr 0x70 value 0xf size 1 name 'rtc-index'
1@1795419452.682469:fw_cfg_select 0x55d8993e1b70 key 0x0000 'signature', ret: 1
1@1795419452.700000:apic_mem_readl 0x20 = 0x00000000
1@1795419452.700001:memory_region_ops_read cpu 0 mr 0x55 addr 0xfee00020 value 0x0 size 4 name 'apic-msi'
1@1795419453.210943:memory_region_ops_read cpu 0 mr 0x55 addr 0xe00f8040 value 0x601 size 4 name 'pcie-mmcfg-mmio'
1@1795419453.381762:apic_mem_writel 0x3e0 = 0x0000000b
"""


def timeline_of(data: bytes, vcpus: int = 1, *, after: bytes = b"") -> tuple[Timeline, TraceTimeline]:
    collector = Collector()
    trace = TraceTimeline(vcpus, collector)
    trace.feed(data)
    trace.feed(after)
    trace.flush()
    timeline = collector.finish(
        witness=WITNESS,
        platform="tcg",
        gaps=[],
        lost=0,
        not_observed=NOT_OBSERVED,
        alternate_injection=False,
        svsm=False,
    )
    return timeline, trace
