/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nested page tables: one tree a VMPL, filled by rmp.c and mmio.c on demand.
 *
 * The C-bit is an address bit of the nested walk: bit 51 in the fifth level (the host runs with
 * LA57), bit 47 in the fourth. So a guest-physical address with and without it are two addresses,
 * and each view has its own mappings. QEMU's TCG ignores bits 48 and up in a four-level walk.
 */
#include "cpu.h"
#include "host.h"

#define NPT_ADDRESS 0x0007FFFFFFFFF000ull

static u32 levels(const struct host *host) { return host->config->cbit == 51 ? 5 : 4; }

static u64 *new_table(struct host *host) { return host_alloc(host, PAGE_SIZE, PAGE_SIZE); }

static u64 *next_table(struct host *host, u64 *entry)
{
	if (!(*entry & NPT_PRESENT))
		*entry = (u64)new_table(host) | NPT_RWX;
	return (u64 *)(*entry & NPT_ADDRESS);
}

/* The table with the entries of `level` (1: 4 KiB pages) for an address; NULL: not there, or a large page above. */
static u64 *table_at(struct host *host, u64 *root, u64 address, u32 level, bool make)
{
	u64 *table = root;

	for (u32 l = levels(host); l > level; l--) {
		u64 *entry = &table[(address >> (12 + 9 * (l - 1))) & 511];

		if (!make && !(*entry & NPT_PRESENT))
			return NULL;
		if (*entry & NPT_LARGE)
			return NULL;
		table = next_table(host, entry);
	}
	return table;
}

void npt_setup(struct host *host)
{
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++) {
		struct npt *npt = &host->npt[vmpl];
		u32 top = 12 + 9 * (levels(host) - 1);

		npt->paged = new_table(host);
		npt->unpaged = new_table(host);
		/* Unpaged code runs below 4 GiB: the first entry of the private view is all it needs. */
		npt->unpaged[0] = (u64)next_table(host, &npt->paged[(host->c_bit >> top) & 511]) | NPT_RWX;
	}
}

/* Without paging, and with 32-bit paging, every access is private (APM vol. 2, 15.34.5). */
u64 npt_root(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vmcb(vcpu)->save;
	const struct npt *npt = &vcpu->host->npt[vcpu->vmpl];
	bool paged = (save->cr0 & CR0_PG) && (save->cr4 & CR4_PAE);

	return (u64)(paged || !vcpu->host->sev ? npt->paged : npt->unpaged);
}

void npt_map(struct host *host, u32 vmpl, bool private_view, u64 gpa, u64 hpa, bool large, u64 bits)
{
	u64 address = gpa | (private_view ? host->c_bit : 0);
	u32 level = large ? 2 : 1;
	u64 *table = table_at(host, host->npt[vmpl].paged, address, level, true);
	u64 *entry;

	if (!table) /* a large page is there already */
		return;
	entry = &table[(address >> (12 + 9 * (level - 1))) & 511];
	*entry = hpa | bits | (large ? NPT_LARGE : 0);
}

static void unmap_page(struct host *host, u64 *root, u64 address)
{
	u64 *table = table_at(host, root, address, 2, false);
	u64 *entry;

	if (!table)
		return;
	entry = &table[(address >> 21) & 511];
	if (*entry & NPT_LARGE)
		*entry = 0;
	else if (*entry & NPT_PRESENT)
		((u64 *)(*entry & NPT_ADDRESS))[(address >> 12) & 511] = 0;
}

/* A 2 MiB range: the table of its 4 KiB pages stays for later, empty. */
static void unmap_large(struct host *host, u64 *root, u64 address)
{
	u64 *table = table_at(host, root, address, 2, false);
	u64 *entry;

	if (!table)
		return;
	entry = &table[(address >> 21) & 511];
	if (*entry & NPT_LARGE)
		*entry = 0;
	else if (*entry & NPT_PRESENT)
		memset((void *)(*entry & NPT_ADDRESS), 0, PAGE_SIZE);
}

void npt_unmap(struct host *host, u64 gpa, bool large)
{
	host->rmp_generation++;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++) {
		u64 *root = host->npt[vmpl].paged;

		if (large) {
			unmap_large(host, root, gpa);
			unmap_large(host, root, gpa | host->c_bit);
		} else {
			unmap_page(host, root, gpa);
			unmap_page(host, root, gpa | host->c_bit);
		}
	}
}
