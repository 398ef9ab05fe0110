# SPDX-License-Identifier: GPL-2.0-or-later
"""The order in which QEMU carries out the headers of an IGVM file (backends/igvm.c, qigvm_process_mem_page).

Pages that continue each other are one run, which QEMU launches when the next page does not continue it, or at the
file's end: a parameter area that the file inserts in between is launched before them.
"""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.svsm.igvm import Header, IgvmFile, PageData


def in_qemu_order(file: IgvmFile, mask: int) -> Iterator[Header | list[PageData]]:
    """Yield the headers for the platform with that mask, and pages as runs of the same kind."""
    run: list[PageData] = []
    last = -1
    for number, header in enumerate(file.headers):
        if not header.applies(mask):
            continue
        if not isinstance(header, PageData):
            yield header
            continue
        if run and (last != number - 1 or not _continues(run[-1], header)):
            yield run
            run = []
        run.append(header)
        last = number
    if run:
        yield run


def _continues(before: PageData, page: PageData) -> bool:
    return (
        before.gpa + before.size == page.gpa
        and before.flags == page.flags
        and before.data_type == page.data_type
        and before.mask == page.mask
        and bool(before.offset) == bool(page.offset)
    )
