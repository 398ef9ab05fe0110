/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One case for each way. tests/hostile/test_cases.py has the verdict that each must get. */
#include "hostile.h"

#define ELSEWHERE    0xFD000000u /* no device or memory of a q35 */
#define COPY         0x1900000ull
#define WINDOW_PAGE  (TEST_AREA + 0x80000)
#define UPPER_HALF   0xFFFFFF8000000000ull /* entry 511 of the PML4 */
#define PAST_LIMIT   20100 /* more accesses than a timeline keeps one by one (docs/log.md) */
#define PAST_EVENTS  10100 /* the same of events */

/* The q35 host bridge's PCI Express window (Intel 82Q35, PCIEXBAR). */
#define PCI_ADDRESS  0xCF8
#define PCI_DATA     0xCFC
#define PCIEXBAR     0x60
#define PCI_ENABLE   0x80000000u
#define WINDOW_64M   0x05u /* size and enable bit */
#define WINDOW_256M  0x01u
#define ECAM_BASE    0xB0000000u

static void rest_of_right_firmware(void)
{
	enter_x2apic();
	to_pei();
	to_dxe();
}

CASE(right)
{
	enter_x2apic();
	sec_by_msr();
	to_pei();
	to_dxe();
}

CASE(stock)
{
	sec_by_mmio();
	to_pei();
	to_dxe();
}

/* --- the log out of reach */

static void pciexbar(u64 value, u32 size)
{
	for (u32 i = 0; i < 8; i += size) {
		/* From the top down, so that the window is enabled last. */
		u32 at = 8 - size - i;

		io_out(PCI_ADDRESS, 4, PCI_ENABLE | PCIEXBAR | (at & 4));
		io_out((u16)(PCI_DATA + (at & 3)), size, (u32)(value >> 8 * at));
	}
}

static void covered(u64 base, u64 window, u32 size)
{
	pciexbar((base & ~0x3FFFFFFull) | window, size);
	sec_by_mmio();
	pciexbar(ECAM_BASE, 4);
}

CASE(window_over_the_log)
{
	covered(parameters->log_memory, WINDOW_64M, 4);
	rest_of_right_firmware();
}

CASE(window_by_bytes)
{
	covered(parameters->log_memory, WINDOW_64M, 1);
	rest_of_right_firmware();
}

CASE(window_over_the_hypervisor)
{
	covered(parameters->host_memory, WINDOW_256M, 4);
	rest_of_right_firmware();
}

CASE(window_by_ecam)
{
	u64 high = parameters->log_memory >> 32;

	pciexbar(ECAM_BASE | WINDOW_256M, 4);
	mmio_out(ECAM_BASE + PCIEXBAR + 4, 4, high);
	mmio_out(ECAM_BASE + PCIEXBAR, 4, ECAM_BASE | WINDOW_64M);
	sec_by_mmio();
	pciexbar(ECAM_BASE, 4);
	rest_of_right_firmware();
}

/* --- accesses that the hypervisor is not asked for */

CASE(own_answer_mmio)
{
	this_cpu()->answer = ANSWER_GUEST;
	sec_by_mmio();
	this_cpu()->answer = ANSWER_HYPERVISOR;
	rest_of_right_firmware();
}

CASE(own_answer_msr)
{
	this_cpu()->answer = ANSWER_GUEST;
	read_msr(X2(APIC_ID));
	this_cpu()->answer = ANSWER_HYPERVISOR;
	rest_of_right_firmware();
}

CASE(own_answer_in_x2apic)
{
	enter_x2apic();
	this_cpu()->answer = ANSWER_GUEST;
	mmio_read(APIC_ID);
	this_cpu()->answer = ANSWER_HYPERVISOR;
	to_pei();
	to_dxe();
}

CASE(own_answer_by_svsm)
{
	this_cpu()->answer = ANSWER_SVSM;
	read_msr(X2(APIC_ID));
	this_cpu()->answer = ANSWER_HYPERVISOR;
	rest_of_right_firmware();
}

CASE(direct_mmio)
{
	direct_access(NAE_MMIO_READ, APIC_DEFAULT_BASE + APIC_SPIV, 4, 0);
	rest_of_right_firmware();
}

CASE(direct_msr)
{
	direct_access(NAE_MSR, NAE_MSR_READ, X2(APIC_SPIV), 0);
	rest_of_right_firmware();
}

CASE(svsm_register_not_offered)
{
	svsm_access(MSR_APIC_BASE, false, 0);
	svsm_access(MSR_X2APIC_LAST + 1, false, 0);
	rest_of_right_firmware();
}

/* --- accesses that reach the page in another way */

CASE(into_the_page_by_nae)
{
	direct_access(NAE_MMIO_READ, APIC_DEFAULT_BASE - 4, 8, 0);
	rest_of_right_firmware();
}

CASE(out_of_the_page_by_nae)
{
	direct_access(NAE_MMIO_READ, APIC_DEFAULT_BASE + PAGE_SIZE - 4, 8, 0);
	rest_of_right_firmware();
}

CASE(into_the_page)
{
	access(&op_load8, APIC_DEFAULT_BASE - 4, 0);
	rest_of_right_firmware();
}

CASE(out_of_the_page)
{
	access(&op_load8, APIC_DEFAULT_BASE + PAGE_SIZE - 4, 0);
	rest_of_right_firmware();
}

CASE(wide_store)
{
	access(&op_store8, APIC_DEFAULT_BASE + APIC_SPIV, 0);
	rest_of_right_firmware();
}

CASE(one_byte)
{
	access(&op_load1, APIC_DEFAULT_BASE + APIC_SPIV + 3, 0);
	rest_of_right_firmware();
}

CASE(reserved_register)
{
	access(&op_load4, APIC_DEFAULT_BASE, 0);
	rest_of_right_firmware();
}

/* Offset 0: the processor may have come from the page before. */
CASE(start_of_the_page)
{
	static const struct operation *const operations[] = { &op_exchange4, &op_and4, &op_add2, &op_store4, &op_store8, &op_load1,
							      &op_loadz2, &op_compare4 };

	for (u32 i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		access(operations[i], APIC_DEFAULT_BASE, 0x80 + i);
	rest_of_right_firmware();
}

static void read_through_window(u64 gpa, bool private)
{
	map_page(WINDOW_PAGE, gpa, private);
	this_cpu()->alias = APIC_DEFAULT_BASE - WINDOW_PAGE;
	access(&op_load4, WINDOW_PAGE + APIC_SPIV, 0);
	this_cpu()->alias = 0;
}

CASE(aliased_page)
{
	read_through_window(APIC_DEFAULT_BASE, false);
	rest_of_right_firmware();
}

CASE(private_page)
{
	read_through_window(APIC_DEFAULT_BASE, true);
	rest_of_right_firmware();
}

/* The nested page tables have four levels with C-bit 47: bits 48 and up of an address do not count in QEMU's walk. */
CASE(address_beyond_the_walk)
{
	read_through_window(APIC_DEFAULT_BASE | BIT(48), false);
	sec_by_mmio();
	rest_of_right_firmware();
}

CASE(moved_page)
{
	write_msr(MSR_APIC_BASE, ELSEWHERE | APIC_BASE_EN | APIC_BASE_BSP);
	access(&op_load4, ELSEWHERE + APIC_SPIV, 0);
	write_msr(MSR_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP);
	rest_of_right_firmware();
}

/* Page tables in the APIC page: the processor reads it by itself. */
CASE(walk_through_the_page)
{
	volatile u64 *directory = (volatile u64 *)(PAGE_TABLES + 0x2000);
	u64 before = directory[LARGE_AREA >> 21];

	directory[LARGE_AREA >> 21] = APIC_DEFAULT_BASE | 7;
	this_cpu()->answer = ANSWER_GUEST;
	access(&op_load4, LARGE_AREA, 0);
	this_cpu()->answer = ANSWER_HYPERVISOR;
	directory[LARGE_AREA >> 21] = before;
	invlpg(LARGE_AREA);
	rest_of_right_firmware();
}

static void use_stack_in_the_page(void)
{
	__asm__ volatile("mov %%rsp, %%r12; mov %0, %%rsp; push %%rax; mov %%r12, %%rsp"
			 : : "r"(APIC_DEFAULT_BASE + 0x800) : "r12", "memory");
}

CASE(stack_in_the_page)
{
	use_stack_in_the_page();
	rest_of_right_firmware();
}

CASE(code_in_the_page)
{
	__asm__ volatile("call *%0" : : "r"(APIC_DEFAULT_BASE) : "memory", "rax");
	rest_of_right_firmware();
}

/* --- phases */

CASE(console_prompt)
{
	print("BdsDxe: starting Boot0001 \"UEFI Shell\"\r\nShell> ");
	dxe_reached = true; /* it is not: the guest waits in SEC */
}

CASE(copied_code)
{
	copy_block(COPY, 0);
	this_cpu()->block = COPY;
	sec_by_mmio();
	in_sec();
	rest_of_right_firmware();
}

static void run_in_upper_half(void)
{
	*(volatile u64 *)(PAGE_TABLES + 511 * 8) = *(volatile u64 *)PAGE_TABLES;
	copy_block(COPY, 0);
	this_cpu()->block = COPY + UPPER_HALF;
}

CASE(code_in_the_upper_half)
{
	run_in_upper_half();
	read_msr(MSR_APIC_BASE);
	sec_by_mmio();
	in_sec();
	rest_of_right_firmware();
}

CASE(upper_half_before_sec_ends)
{
	run_in_upper_half();
	read_msr(MSR_APIC_BASE);
	in_sec();
	sec_by_mmio();
	rest_of_right_firmware();
}

/* The header of PEI, and other code than PEI's behind it. */
CASE(forged_header)
{
	copy_block(COPY + 0x500, (u64)block_pei - PAGE_SIZE);
	this_cpu()->block = COPY + 0x500;
	read_msr(MSR_APIC_BASE);
	in_sec();
	sec_by_mmio();
	rest_of_right_firmware();
}

/* PEI runs, and SEC after it: what SEC does is SEC's. */
CASE(back_from_pei)
{
	to_pei();
	in_sec();
	sec_by_mmio();
	rest_of_right_firmware();
}

CASE(back_from_dxe)
{
	to_dxe();
	in_sec();
	sec_by_mmio();
}

/* --- floods */

CASE(flood_of_events)
{
	for (u32 i = 0; i < PAST_EVENTS; i++) {
		map_page(WINDOW_PAGE, WINDOW_PAGE + PAGE_SIZE, true); /* assigned, never validated */
		access(&op_load4, WINDOW_PAGE, 0);
	}
	read_through_window(APIC_DEFAULT_BASE, true);
	rest_of_right_firmware();
}

CASE(flood_of_accesses)
{
	enter_x2apic();
	for (u32 i = 0; i < PAST_LIMIT; i++)
		read_msr(X2(APIC_VERSION));
	in_sec();
	mmio_read(APIC_SPIV);
	to_pei();
	to_dxe();
}

/* Behind the accesses that are kept one by one, x2APIC mode is left and the page used. */
CASE(left_behind_a_flood)
{
	enter_x2apic();
	to_pei();
	for (u32 i = 0; i < PAST_LIMIT; i++)
		read_msr(X2(APIC_VERSION));
	for (u32 i = 0; i < 40; i++)
		write_msr(MSR_APIC_BASE, this_cpu()->base);
	write_msr(MSR_APIC_BASE, BASE(0));
	for (u32 i = 0; i < 40; i++)
		write_msr(MSR_APIC_BASE, BASE(0));
	write_msr(MSR_APIC_BASE, BASE(APIC_BASE_EN));
	write_msr(MSR_APIC_BASE, BASE(MODE_BITS));
	to_dxe();
}

/* --- other vCPUs */

static void read_default_page(struct ap *ap)
{
	(void)ap;
	access(&op_load4, APIC_DEFAULT_BASE + APIC_SPIV, 0);
}

static void move_and_read(struct ap *ap)
{
	write_msr(MSR_APIC_BASE, ELSEWHERE | APIC_BASE_EN);
	read_default_page(ap);
}

static void disable_and_read(struct ap *ap)
{
	write_msr(MSR_APIC_BASE, APIC_DEFAULT_BASE);
	read_default_page(ap);
}

static void with_ap(void (*command)(struct ap *ap))
{
	print(ap_start_others(parameters->vcpus) && ap_run(1, command) ? "done\n" : "failed\n");
}

CASE(moved_by_another)
{
	with_ap(move_and_read);
	sec_by_mmio();
	rest_of_right_firmware();
}

CASE(disabled_by_another)
{
	with_ap(disable_and_read);
	sec_by_mmio();
	rest_of_right_firmware();
}

/* The boot vCPU is in PEI when the other one does what SEC must not do. */
CASE(another_in_sec)
{
	print(ap_start_others(parameters->vcpus) ? "" : "failed\n");
	to_pei();
	print(ap_run(1, read_default_page) ? "done\n" : "failed\n");
	enter_x2apic();
	to_dxe();
}

/* --- Alternate Injection */

/*
 * An end of Alternate Injection that is not one: of a VMPL that does not run. With it, the SVSM's registers would be the
 * hypervisor's.
 */
CASE(end_of_another_vmpl)
{
	const u64 vmpl3 = 3ull << NAE_AP_VMPL_SHIFT;

	enter_x2apic();
	ghcb_page_set(GHCB_PAGE, GHCB_RAX, ap_features());
	ghcb_page_nae(GHCB_PAGE, NAE_AP_CREATION, NAE_AP_CREATE | vmpl3, AP_VMSA(0));
	ghcb_page_nae(GHCB_PAGE, NAE_AP_CREATION, NAE_AP_DESTROY | vmpl3, 0);
	read_msr(X2(APIC_TPR));
	to_pei();
	to_dxe();
}

/* The SVSM does not offer that version, which excuses nothing. */
CASE(offer_of_another_version)
{
	enter_x2apic();
	svsm_call(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_QUERY_PROTOCOL),
		  (u64)SVSM_PROTOCOL_APIC << SVSM_QUERY_PROTOCOL_SHIFT | (SVSM_APIC_VERSION_MAX + 1), 0);
	read_msr(X2(APIC_TPR));
	to_pei();
	to_dxe();
}

/* --- other VMPLs: firmware at VMPL0 has VMPL1 to itself. Nothing leads back, so an AP does it. */

#define VMPL1      1
#define VMPL1_VMSA AP_VMSA(0)

static volatile bool seen_from_vmpl1;

static _Noreturn void at_vmpl1(void)
{
	msr_protocol(AP_GHCB(1) | GHCB_MSR_REG_GPA_REQ);
	direct_access(NAE_MMIO_READ, APIC_DEFAULT_BASE + APIC_SPIV, 4, 0);
	seen_from_vmpl1 = true;
	for (;;)
		pause();
}

static void allow_vmpl1(u64 first, u64 end)
{
	for (u64 page = first; page < end; page += PAGE_SIZE)
		rmpadjust(page, SEV_PAGE_4K, VMPL1 | (u64)SEV_PERM_ALL << SEV_RMPADJUST_PERM_SHIFT);
}

static void run_vmpl1(struct ap *ap)
{
	struct vmsa *vmsa = (struct vmsa *)VMPL1_VMSA;

	ap_fill_vmsa(vmsa, ap->index);
	vmsa->vmpl = VMPL1;
	vmsa->rip = (u64)at_vmpl1;
	vmsa->rsp = (u64)__builtin_frame_address(0) - 0x408;
	rmpadjust(VMPL1_VMSA, SEV_PAGE_4K, VMPL1 | SEV_RMPADJUST_VMSA);
	ghcb_page_set(AP_GHCB(1), GHCB_RAX, ap_features());
	ap_nae(ap, NAE_AP_CREATION, NAE_AP_CREATE | VMPL1 << NAE_AP_VMPL_SHIFT | ap->index << NAE_AP_APIC_ID_SHIFT, VMPL1_VMSA);
	msr_protocol(GHCB_MSR_RUN_VMPL_REQ | (u64)VMPL1 << GHCB_MSR_RUN_VMPL_SHIFT);
}

CASE(other_vmpl)
{
	allow_vmpl1(SEC_MEMORY, SEC_MEMORY + SEC_SIZE);
	allow_vmpl1(IMAGE_BASE, 0x100000000ull);
	allow_vmpl1(WRITTEN_BASE, WRITTEN_BASE + 2 * WRITTEN_SIZE);
	make_private(VMPL1_VMSA);
	print(ap_start_others(parameters->vcpus) ? "" : "failed\n");
	ap_command(1, run_vmpl1);
	while (!seen_from_vmpl1)
		pause();
	rest_of_right_firmware();
}
