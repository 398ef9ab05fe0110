/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware does, whether it keeps the contract or breaks it. */
#include "hostile.h"

#define DXE_BASE 0x1800000ull /* where SEC's loader puts DXE */
#define SVR_ENABLED 0x1FF

bool dxe_reached;

void enter_x2apic(void)
{
	struct cpu *cpu = this_cpu();

	read_msr(MSR_APIC_BASE);
	write_msr(MSR_APIC_BASE, cpu->base | APIC_BASE_EN | APIC_BASE_EXTD);
}

void sec_by_msr(void)
{
	read_msr(X2(APIC_SPIV));
	write_msr(X2(APIC_SPIV), SVR_ENABLED);
}

void sec_by_mmio(void)
{
	mmio_read(APIC_SPIV);
	mmio_write(APIC_SPIV, SVR_ENABLED);
}

/* In x2APIC mode a read of the version, which the SVSM does not serve; else APIC_BASE. */
static void first_access(void)
{
	bool x2 = (this_cpu()->base & MODE_BITS) == MODE_BITS;

	read_msr(x2 ? X2(APIC_VERSION) : MSR_APIC_BASE);
}

void in_sec(void) { this_cpu()->block = (u64)block_sec; }

void to_pei(void)
{
	this_cpu()->block = (u64)block_pei;
	first_access();
}

void copy_block(u64 to, u64 header)
{
	u64 size = (u64)(block_end_sec - block_sec);

	if (sev()) {
		make_private(to & ~(PAGE_SIZE - 1));
		if (header)
			make_private((to & ~(PAGE_SIZE - 1)) - PAGE_SIZE);
	}
	for (u64 i = 0; i < PAGE_SIZE && header; i += 8)
		*(volatile u64 *)((to & ~(PAGE_SIZE - 1)) - PAGE_SIZE + i) = *(const volatile u64 *)(header + i);
	for (u64 i = 0; i < size; i++)
		*(volatile u8 *)(to + i) = block_sec[i];
}

void to_dxe(void)
{
	u64 header = (u64)block_dxe - PAGE_SIZE;

	for (u64 offset = 0; offset < (u64)module_end_dxe - header; offset += PAGE_SIZE) {
		if (sev())
			make_private(DXE_BASE + offset);
		for (u64 i = 0; i < PAGE_SIZE; i += 8)
			*(volatile u64 *)(DXE_BASE + offset + i) = *(const volatile u64 *)(header + offset + i);
	}
	this_cpu()->block = DXE_BASE + PAGE_SIZE;
	dxe_reached = true;
	first_access();
}
