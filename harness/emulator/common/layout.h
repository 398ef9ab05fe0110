/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses that reset.S, the linker script and C share. */
#ifndef SNP_LAYOUT_H
#define SNP_LAYOUT_H

#define HOST_VIRTUAL     0xFFFFFFFF80000000 /* where the host is linked: the last 2 GiB (-mcmodel=kernel) */
#define HOST_VIRTUAL_LOW HOST_VIRTUAL
#define HOST_ROM_SIZE    0x40000            /* the image, with ROM page tables and the reset page */
#define HOST_ROM         0xFFFC0000         /* 4 GiB - HOST_ROM_SIZE */
#define CONFIG_ROM       0xFFFBF000         /* the configuration block: the page below */

#define CONFIG_OFFSET_HOST_BASE 16          /* offsetof(struct host_config, ...), checked in main.c */
#define CONFIG_OFFSET_CBIT      216

#define IDENTITY_SIZE    0x8000000000         /* 512 GiB of physical memory are mapped where they are, */
#define PHYSICAL_WINDOW  0x8000000000         /* and once more, so that a pointer to GPA 0 is not NULL */
#define DEVICE_WINDOW    0x10000000000        /* devices beyond, a few GiB at a time: mmio.c */
#define HOST_IOMMU       0xFED90000ull         /* the registers of QEMU's intel-iommu (its hw/i386/intel_iommu.c) */
#define FW_CFG_COMMAND   0x1000                /* the hypervisor's DMA command: no guest's memory (memory.c) */
#define HOST_PROCESSORS  16                   /* QEMU's: as many as vCPUs */
#define STACK_SIZE 0x8000                   /* per vCPU, aligned to its size: its top holds the vCPU's address, and below that of the handler of interrupts */

#endif
