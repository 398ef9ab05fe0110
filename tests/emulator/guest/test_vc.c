/* SPDX-License-Identifier: GPL-2.0-or-later */
/* #VC is raised for each configured exit, with the frame of the architecture (APM vol. 2, 8.9 and 15.35.5). */
#include "guest.h"
#include "svm.h"

#define VC SEV_VECTOR_VC

/* The instruction raises #VC with this error code, at its own address, with a correct frame. */
#define RAISES(code, instruction, ...)                                        \
	do {                                                                  \
		EQUAL(TRY(instruction, OUT(), __VA_ARGS__), VC);              \
		EQUAL(trap.error, code);                                      \
		EQUAL(trap.rip, trap.start);                                  \
		EQUAL(trap.cs, SELECTOR_CODE);                                \
		EQUAL(trap.frame & 15, 0); /* RSP was aligned before the frame's six quadwords */ \
		CHECK(trap.rsp - trap.frame >= 48 && trap.rsp - trap.frame < 64); \
	} while (0)

TEST(vc_cpuid, SEV) { RAISES(SVM_EXIT_CPUID, "cpuid", "a"(0), "c"(0)); }
TEST(vc_cpuid_with_prefixes, SEV) { RAISES(SVM_EXIT_CPUID, ".byte 0x66, 0x48, 0x0F, 0xA2", "a"(0), "c"(0)); }
TEST(vc_ioio_in, SEV) { RAISES(SVM_EXIT_IOIO, "inb $0x80, %%al", "a"(0)); }
TEST(vc_ioio_out, SEV) { RAISES(SVM_EXIT_IOIO, "outl %%eax, %%dx", "a"(0), "d"(0xCF8)); }
TEST(vc_ioio_string, SEV) { RAISES(SVM_EXIT_IOIO, "rep insb", "d"(0x511), "c"(4), "D"(TEST_AREA)); }
TEST(vc_msr_read, SEV) { RAISES(SVM_EXIT_MSR, "rdmsr", "c"(MSR_APIC_BASE)); }
TEST(vc_msr_write, SEV) { RAISES(SVM_EXIT_MSR, "wrmsr", "c"(0xC0010015), "a"(0), "d"(0)); }
TEST(vc_msr_x2apic, SEV) { RAISES(SVM_EXIT_MSR, "rdmsr", "c"(0x80F)); }
TEST(vc_msr_caa, SEV) { RAISES(SVM_EXIT_MSR, "rdmsr", "c"(SEV_MSR_SVSM_CAA)); }
TEST(vc_vmmcall, SEV) { RAISES(SVM_EXIT_VMMCALL, "vmmcall", "a"(0)); }
TEST(vc_wbinvd, SEV) { RAISES(SVM_EXIT_WBINVD, "wbinvd", "a"(0)); }
TEST(vc_invd, SEV) { RAISES(SVM_EXIT_INVD, "invd", "a"(0)); }
TEST(vc_monitor, SEV) { RAISES(SVM_EXIT_MONITOR, "monitor %%rax, %%ecx, %%edx", "a"(TEST_AREA), "c"(0), "d"(0)); }
TEST(vc_mwait, SEV) { RAISES(SVM_EXIT_MWAIT, "mwait %%eax, %%ecx", "a"(0), "c"(0)); }
TEST(vc_rdpmc, SEV) { RAISES(SVM_EXIT_RDPMC, "rdpmc", "c"(0)); }
TEST(vc_rdtscp, SEV) { RAISES(SVM_EXIT_RDTSCP, "rdtscp", "a"(0)); }
TEST(vc_dr7_read, SEV) { RAISES(SVM_EXIT_DR7_READ, "mov %%db7, %%rax", "a"(0)); }
TEST(vc_dr7_write, SEV) { RAISES(SVM_EXIT_DR7_WRITE, "mov %%rax, %%db7", "a"(0x400)); }
TEST(vc_apic_page, SEV) { RAISES(SVM_EXIT_NPF, "movl (%%rax), %%eax", "a"(0xFEE00020)); }
TEST(vc_ioapic_page, SEV) { RAISES(SVM_EXIT_NPF, "movl %%eax, (%%rax)", "a"(0xFEC00000)); }
TEST(vc_mmio_private, SEV) /* as Debian 12's OVMF accesses the APIC page */
{
	u64 page = (u64)map_page(TEST_AREA + 0x10000, APIC_DEFAULT_BASE, true);

	RAISES(SVM_EXIT_NPF, "movl 0x20(%%rax), %%eax", "a"(page));
}

TEST(vc_not_for_what_passes_through, SEV)
{
	EQUAL(TRY("rdmsr", OUT(), "c"(0xC0000080)), NO_TRAP);
	EQUAL(TRY("rdmsr", OUT(), "c"(0xC0000101)), NO_TRAP);
	EQUAL(TRY("rdtsc", OUT(), "a"(0)), NO_TRAP);
	EQUAL(TRY("mov %%db6, %%rax", OUT(), "a"(0)), NO_TRAP);
	EQUAL(TRY("mov %%rax, %%cr8; mov %%cr8, %%rax", OUT(), "a"(0)), NO_TRAP);
}

TEST(svm_instructions_are_undefined, ALL)
{
	EQUAL(TRY("vmrun %%rax", OUT(), "a"(0)), 6);
	EQUAL(TRY("vmload %%rax", OUT(), "a"(0)), 6);
	EQUAL(TRY("vmsave %%rax", OUT(), "a"(0)), 6);
	EQUAL(TRY("clgi", OUT(), "a"(0)), 6);
	EQUAL(TRY("stgi", OUT(), "a"(0)), 6);
	EQUAL(TRY(".byte 0xF2, 0x0F, 0x01, 0xFE", OUT(), "a"(0)), 6); /* RMPUPDATE */
	EQUAL(TRY(".byte 0xF3, 0x0F, 0x01, 0xFF", OUT(), "a"(0)), 6); /* PSMASH */
	EQUAL(TRY("ud2", OUT(), "a"(0)), 6);
	EQUAL(trap.rip, trap.start);
}

TEST(snp_instructions_are_undefined_without_sev, PLAIN)
{
	EQUAL(TRY(SEV_OPCODE_PVALIDATE, OUT(), "a"(0), "c"(0), "d"(1)), 6);
	EQUAL(TRY(SEV_OPCODE_RMPADJUST, OUT(), "a"(0), "c"(0), "d"(1)), 6);
}

TEST(vc_frame_keeps_flags, SEV)
{
	/* CF set, DF set; the interrupt gate clears IF for the handler only. */
	RAISES(SVM_EXIT_CPUID, "cpuid", "a"(0), "c"(0));
	EQUAL(TRY("cpuid", OUT(), "a"(0), "c"(0)), VC);
	trap.vector = NO_TRAP;
	__asm__ volatile("lea 9f(%%rip), %%r11; mov %%r11, trap; stc; std; sti; cpuid; 9: cli; cld" : : "a"(0), "c"(0) : "r11", "rbx", "rdx", "memory", "cc");
	EQUAL(trap.vector, VC);
	EQUAL(trap.rflags & 0x601, 0x601);
	EQUAL(trap.handler_rflags & 0x200, 0);
	EQUAL(trap.handler_cs, SELECTOR_CODE);
}

TEST(vc_stack_is_aligned_from_any_rsp, SEV)
{
	for (u64 offset = 0; offset < 16; offset += 1) {
		trap.vector = NO_TRAP;
		__asm__ volatile("lea 9f(%%rip), %%r11; mov %%r11, trap; mov %%rsp, %%r12; sub %2, %%rsp; cpuid; 9: mov %%r12, %%rsp"
				 : : "a"(0), "c"(0), "r"(offset + 256) : "r11", "r12", "rbx", "rdx", "memory", "cc");
		EQUAL(trap.vector, VC);
		EQUAL(trap.frame & 15, 0);
		CHECK(trap.rsp - trap.frame >= 48 && trap.rsp - trap.frame < 64);
	}
}

TEST(vc_on_an_ist_stack, SEV)
{
	u64 vector, rsp;

	trap_set_ist(VC, 1);
	vector = TRY("cpuid", OUT(), "a"(0), "c"(0));
	trap_set_ist(VC, 0);
	__asm__ volatile("mov %%rsp, %0" : "=r"(rsp));
	EQUAL(vector, VC);
	EQUAL(trap.frame, IST_TOP - 48);
	CHECK(trap.rsp > rsp - 0x1000 && trap.rsp <= rsp);
	EQUAL(trap.error, SVM_EXIT_CPUID);
}

/* The page-table entry of the handler's stack changes without a new CR3: the new page is used. */
TEST(vc_on_a_stack_that_moves, SEV)
{
	u64 page = TEST_AREA + 0x30000, linear = TEST_AREA + 0x14000;
	u64 vector[2];

	CHECK(make_private(page));
	CHECK(make_private(page + PAGE_SIZE));
	for (u32 i = 0; i < 2; i++) {
		map_page(linear, page + i * PAGE_SIZE, true);
		traps_set_ist1(linear + PAGE_SIZE);
		trap_set_ist(VC, 1);
		vector[i] = TRY("cpuid", OUT(), "a"(0), "c"(0));
		trap_set_ist(VC, 0);
		traps_set_ist1(IST_TOP);
		if (*(volatile u64 *)(page + i * PAGE_SIZE + PAGE_SIZE - 48) != SVM_EXIT_CPUID)
			vector[i] = 0;
	}
	EQUAL(vector[0], VC);
	EQUAL(vector[1], VC);
}

struct paging {
	u64 pdpt[512], pd[512], pt[512], stack[512];
};

/* Page tables of their own that map `linear` to the last page. */
static bool make_paging(volatile struct paging *paging, u64 linear)
{
	for (u64 page = (u64)paging; page < (u64)(paging + 1); page += PAGE_SIZE) {
		if (!make_private(page))
			return false;
	}
	for (u32 i = 0; i < 512; i++)
		paging->pdpt[i] = paging->pd[i] = paging->pt[i] = paging->stack[i] = 0;
	paging->pdpt[(linear >> 30) & 511] = (u64)paging->pd | c_bit() | 7;
	paging->pd[(linear >> 21) & 511] = (u64)paging->pt | c_bit() | 7;
	paging->pt[(linear >> 12) & 511] = (u64)paging->stack | c_bit() | 7;
	return true;
}

/* An entry above the last level of the handler's stack changes, without a new CR3: the frame goes where the new one leads. */
static bool frame_follows(volatile struct paging *paging, u64 linear, volatile u64 *entry, bool pdpt)
{
	u64 old = *entry;
	bool good = true;

	for (u32 i = 0; i < 2; i++, paging++) {
		if (!make_paging(paging, linear))
			return false;
		*entry = (u64)(pdpt ? paging->pdpt : paging->pt) | c_bit() | 7;
		invlpg(linear);
		traps_set_ist1(linear + PAGE_SIZE);
		trap_set_ist(VC, 1);
		good &= TRY("cpuid", OUT(), "a"(0), "c"(0)) == VC;
		trap_set_ist(VC, 0);
		traps_set_ist1(IST_TOP);
		good &= paging->stack[512 - 6] == SVM_EXIT_CPUID;
	}
	*entry = old;
	invlpg(linear);
	return good;
}

#define UNUSED 0x1200000ull /* 2 MiB with a PDE of their own */

TEST(vc_on_a_stack_whose_page_table_moves, SEV)
{
	CHECK(frame_follows((volatile struct paging *)(TEST_AREA + 0x40000), UNUSED,
			    (volatile u64 *)(PAGE_TABLES + 0x2000) + (UNUSED >> 21), false));
}

TEST(vc_on_a_stack_whose_upper_tables_move, SEV)
{
	CHECK(frame_follows((volatile struct paging *)(TEST_AREA + 0x50000), UNUSED | 1ull << 39,
			    (volatile u64 *)PAGE_TABLES + 1, true));
}

TEST(vc_from_user_mode, SEV)
{
	user_run((u64)user_cpuid);
	EQUAL(trap.vector, VC);
	EQUAL(trap.error, SVM_EXIT_CPUID);
	EQUAL(trap.rip, (u64)user_cpuid);
	EQUAL(trap.cs, SELECTOR_USER_CODE);
	EQUAL(trap.ss, SELECTOR_USER_DATA);
	EQUAL(trap.rsp, USER_STACK);
	EQUAL(trap.frame, RSP0_TOP - 48);
	EQUAL(trap.handler_cs, SELECTOR_CODE);
}

TEST(snp_instructions_are_privileged, SEV)
{
	user_run((u64)user_pvalidate);
	EQUAL(trap.vector, 13);
	EQUAL(trap.error, 0);
	EQUAL(trap.rip, (u64)user_pvalidate);
	user_run((u64)user_rmpadjust);
	EQUAL(trap.vector, 13);
	EQUAL(trap.rip, (u64)user_rmpadjust);
}

TEST(vc_in_32_bit_code, SEV)
{
	const volatile struct start_results *seen = at_start();

	EQUAL(seen->count, 1);
	EQUAL(seen->error, SVM_EXIT_CPUID);
	EQUAL(seen->vc_eip, seen->eip);
	EQUAL(seen->cs, SELECTOR_CODE32);
	EQUAL(seen->eflags & 0x202, 2);
	EQUAL(seen->esp, STACK_TOP - 12);
	CHECK(seen->eax & SEV_CPUID_EAX_SNP);
	EQUAL(seen->ebx & SEV_CPUID_EBX_CBIT_MASK, parameters->cbit);
	EQUAL(seen->cbit, parameters->cbit); /* of the CPUID page */
}

TEST(no_vc_without_sev, PLAIN)
{
	const volatile struct start_results *seen = at_start();

	EQUAL(seen->count, 0);
	EQUAL(seen->eax, 0);
	EQUAL(TRY("cpuid", OUT(), "a"(0), "c"(0)), NO_TRAP);
	EQUAL(TRY("wbinvd", OUT(), "a"(0)), NO_TRAP);
	EQUAL(TRY("vmmcall", OUT(), "a"(1)), NO_TRAP);
	EQUAL(TRY("rdmsr", OUT(), "c"(SEV_MSR_STATUS)), 13);
	EQUAL(TRY("rdmsr", OUT(), "c"(SEV_MSR_GHCB)), 13);
}

static u64 rdmsr_raises(u32 msr, u64 *value)
{
	u32 low = 0, high = 0;
	u64 raised = TRY("rdmsr", OUT("=a"(low), "=d"(high)), "c"(msr));

	*value = (u64)high << 32 | low;
	return raised;
}

static u64 wrmsr_raises(u32 msr, u64 value) { return TRY("wrmsr", OUT(), "c"(msr), "a"((u32)value), "d"((u32)(value >> 32))); }

TEST(msrs_by_instruction_are_as_by_nae, SEV)
{
	static const u32 msrs[] = { 0x17B, 0x1A0, 0x200, 0x20F, 0x250, 0x259, 0x26F, 0x2FF, 0x400 };
	u64 direct, by_nae;

	if (rdmsr_raises(0x2FF, &direct) == SEV_VECTOR_VC)
		return; /* the others do as well: vc_msr_write; an APIC's always do: vc_msr_read, vc_msr_x2apic */
	EQUAL(wrmsr_raises(0x200, 0x105000006), NO_TRAP);
	EQUAL(wrmsr_raises(0x200, 7), X86_GP); /* no type */
	for (u32 i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		EQUAL(rdmsr_raises(msrs[i], &direct), NO_TRAP);
		CHECK(msr_in(msrs[i], &by_nae));
		EQUAL(direct, by_nae);
	}
	EQUAL(wrmsr_raises(0x200, 0), NO_TRAP);
}
