/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI configuration space, by port and by MMCONFIG. Registers that lay a window over other devices or memory are guarded;
 * functions of the emulator itself do not exist for the guest.
 */
#ifndef SNP_PCI_H
#define SNP_PCI_H

#include "vcpu.h"

#define PCI_PORTS 0xCF8u /* address and data; the byte at CF9 is the reset control register */

void pci_setup(struct hypervisor *hv);
u32 pci_port_read(struct vcpu *vcpu, u16 port, u32 size);
void pci_port_write(struct vcpu *vcpu, u16 port, u32 size, u32 value);

/* A page that may be a guarded function's in MMCONFIG, wherever that is: the guest may read it itself, but not write it. */
bool pci_guards_page(const struct hypervisor *hv, u64 gpa);
bool pci_hides_page(const struct hypervisor *hv, u64 gpa); /* or a hidden function's: it may do neither */
/* An access there. False: there is nothing more to do, and a read's value is set; else the access is a device's. */
bool pci_page_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value);

/* Functions by bus << 8 | device << 3 | function, for the hypervisor itself. By port: the guest's address register stays. */
u32 pci_read(u32 function, u32 offset);
void pci_write(u32 function, u32 offset, u32 value);
/* The function does not exist for the guest: reads are all ones. `id`: its vendor and device ID. */
void pci_hide(struct hypervisor *hv, u32 function, u32 id);

#endif
