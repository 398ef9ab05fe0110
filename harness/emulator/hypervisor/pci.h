/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI configuration space, by port and by MMCONFIG. Registers that lay a window over other devices or memory are guarded. */
#ifndef SNP_PCI_H
#define SNP_PCI_H

#include "vcpu.h"

#define PCI_PORTS 0xCF8u /* address and data; the byte at CF9 is the reset control register */

u32 pci_port_read(struct vcpu *vcpu, u16 port, u32 size);
void pci_port_write(struct vcpu *vcpu, u16 port, u32 size, u32 value);

/* A page that may be a guarded function's in MMCONFIG, wherever that is: the guest may read it itself, but not write it. */
bool pci_guards_page(const struct hypervisor *hv, u64 gpa);
/* False: the write to such a page is not passed on. */
bool pci_page_write(struct vcpu *vcpu, u64 gpa, u32 size, u64 value);

#endif
