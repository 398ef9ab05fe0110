# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM trace that somebody else has recorded: the text of trace_pipe, of `trace-cmd report`, or pasted lines of them.

Its coverage is not known: events may have been filtered, and it may begin or end anywhere. So its timeline is never
complete: an offence can be shown, "holds" cannot.
"""

from __future__ import annotations

import itertools
from typing import BinaryIO

from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_timeline import NOT_OBSERVED_ENCRYPTED, NOT_OBSERVED_PLAIN, WITNESS, KvmTimeline
from snp_harness.capture.kvm_trace import parse_line
from snp_harness.capture.module_names import Firmware
from snp_harness.capture.qemu_trace import LineSplitter

_CHUNK = 1 << 18
#: Why such a timeline is not complete.
COVERAGE = "a recorded trace: what was not recorded, or is before or after it, is not known"


def read_recorded(stream: BinaryIO, firmware: Firmware | None, platform: str) -> Timeline | None:
    """Return the timeline of a trace, None if it has no event of KVM.

    firmware: of a guest without SEV: it names modules and phases; None if the pc means nothing or is not to be used.
    """
    collector = Collector()
    seen = KvmTimeline(collector, firmware, from_start=False)
    lines = LineSplitter()
    threads: dict[int, set[int]] = {}
    events = 0
    # The last line may have no end, and pasted ones another.
    for data in itertools.chain(iter(lambda: stream.read(_CHUNK), b""), (b"\n",)):
        for line in lines.feed(data):
            event = parse_line(line.rstrip(b"\r"))
            if event is None:
                continue
            events += 1
            if event.vcpu is not None:
                threads.setdefault(event.vcpu, set()).add(event.thread)
            seen.take(event)
    if not events:
        return None
    seen.flush()
    seen.unread += lines.cut
    gaps = [COVERAGE, *seen.gaps()]
    if any(len(found) > 1 for found in threads.values()):
        gaps.append("the trace has several guests: a vCPU's number appears in more than one thread")
    return collector.finish(
        witness=f"{WITNESS}, recorded",
        platform=platform,
        gaps=gaps,
        lost=seen.lost,
        not_observed=NOT_OBSERVED_ENCRYPTED if firmware is None else NOT_OBSERVED_PLAIN,
        alternate_injection=False,
        svsm=False,
    )
