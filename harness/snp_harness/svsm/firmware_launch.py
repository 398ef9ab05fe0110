# SPDX-License-Identifier: GPL-2.0-or-later
"""The SEV-SNP launch of a firmware without an SVSM, as QEMU carries it out.

Source: QEMU target/i386/sev.c (sev_snp_launch_finish, snp_metadata_desc_to_page_type).
"""

from __future__ import annotations

from snp_harness.firmware.metadata import FOUR_GIB, SevMetadata, SevSectionType
from snp_harness.svsm import vmsa
from snp_harness.svsm.launch import PAGE, Launch, Pages, PageType

_TYPES = {SevSectionType.SECRETS: PageType.SECRETS, SevSectionType.CPUID: PageType.CPUID}


def firmware_launch(firmware: bytes, metadata: SevMetadata, *, vcpus: int, features: int, signature: int) -> Launch:
    """Return the launch: the image, the sections of its SEV metadata in their order, and a VMSA for each vCPU.

    features: SEV_FEATURES. signature: CPUID 1 EAX.
    """
    image = Pages(PageType.NORMAL, FOUR_GIB - len(firmware), len(firmware) // PAGE, firmware)
    sections = (
        Pages(_TYPES.get(section.type, PageType.ZERO), section.gpa, section.size // PAGE)
        for section in metadata.sections
    )
    first = vmsa.reset_page(features, signature)
    others = vmsa.reset_page(features, signature, metadata.ap_reset or vmsa.RESET_VECTOR)
    vmsas = tuple((number, others if number else first) for number in range(vcpus))
    return Launch(pages=(image, *sections), vmsas=vmsas)
