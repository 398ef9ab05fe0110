/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single steps, and control registers: what instructions that the host carries out leave behind. */
#include "guest.h"
#include "svm.h"

#define DB 1
#define GP 13

/* `instruction` with RFLAGS.TF: one #DB, after it. */
static volatile u64 end_of_step;
#define STEP(instruction, ...)                                                                             \
	do {                                                                                               \
		u64 dr6_;                                                                                  \
		__asm__ volatile("mov %0, %%db6" : : "r"(0xFFFF0FF0ull));                                  \
		EQUAL(TRY("lea 7f(%%rip), %%r11; mov %%r11, end_of_step; pushfq; orq $0x100, (%%rsp); popfq\n\t" \
			  instruction "\n7: nop; nop", OUT(), __VA_ARGS__), DB);                           \
		__asm__ volatile("mov %%db6, %0" : "=r"(dr6_));                                            \
		EQUAL(trap.rip, end_of_step);                                                              \
		EQUAL(dr6_ & DR6_BS, DR6_BS);                                                              \
	} while (0)

TEST(single_step_of_what_the_hypervisor_carries_out, PLAIN)
{
	STEP("cpuid", "a"(0), "c"(0));
	STEP("rdmsr", "c"(MSR_APIC_BASE));
	STEP("wrmsr", "c"(MSR_APIC_BASE), "a"(APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP), "d"(0));
	STEP("inb %%dx, %%al", "d"(DOORBELL_PORT), "a"(0));
	STEP("outb %%al, %%dx", "d"(DOORBELL_PORT), "a"(0));
	STEP("movl (%%rax), %%eax", "a"(APIC_DEFAULT_BASE + APIC_ID));
	STEP("movl %%ecx, (%%rax)", "a"(APIC_DEFAULT_BASE + APIC_TPR), "c"(0));
	STEP("vmmcall", "a"(0));
	STEP("hlt", "a"(0)); /* the trap ends it */
}

TEST(single_step_of_what_the_hardware_carries_out, SEV)
{
	STEP("rdmsr", "c"(SEV_MSR_STATUS));
	STEP("wrmsr", "c"(SEV_MSR_GHCB), "a"(GHCB_MSR_HV_FEATURES_REQ), "d"(0));
	STEP("rep; vmmcall", "a"(0));
	STEP("hlt", "a"(0));
	if (TRY("cpuid", OUT(), "a"(0), "c"(0)) == NO_TRAP) /* it does not become #VC */
		STEP("cpuid", "a"(0), "c"(0));
	if (parameters->mode == VMPL0)
		STEP(SEV_OPCODE_PVALIDATE, "a"(SEC_MEMORY), "c"(0), "d"(1));
}

TEST(single_step_of_other_instructions, ALL)
{
	STEP("nop", "a"(0));
	STEP("rdtsc", "a"(0));
}

/* TCG raises no #GP for them in a guest. */
TEST(reserved_bits_of_cr3_and_cr4, ALL)
{
	u64 cr3, cr4;

	__asm__ volatile("mov %%cr3, %0; mov %%cr4, %1" : "=r"(cr3), "=r"(cr4));
	for (u32 i = 0; i < 3; i++) {
		EQUAL(TRY("mov %%rax, %%cr4", OUT(), "a"(cr4 | 1ull << 63)), GP);
		EQUAL(trap.error, 0);
		EQUAL(trap.rip, trap.start);
		EQUAL(TRY("mov %%rax, %%cr4", OUT(), "a"(cr4 | 1 << 15)), GP);
		EQUAL(TRY("mov %%rax, %%cr3", OUT(), "a"(cr3 | 1ull << 60)), GP);
		EQUAL(trap.rip, trap.start);
	}
	EQUAL(TRY("mov %%rax, %%cr4; mov %%rcx, %%cr3", OUT(), "a"(cr4), "c"(cr3)), NO_TRAP);
}
