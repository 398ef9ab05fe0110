/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What SEV adds to a processor: MSRs and CPUID 8000001F. */
#include "sev.h"
#include "cpu.h"
#include "x86.h"

/* RDSEED, which QEMU 7.2 executes but does not offer; and what undefined.c carries out. */
#define LEAF7_EBX_RDSEED BIT(18)
#define XSAVE_EAX_XSAVEC BIT(1) /* leaf D, sub-leaf 1 */
#define XSAVE_EAX_XSAVES BIT(3)

#define ENCRYPTED_GUESTS 100 /* 8000001F ECX */

u64 hw_msr(const struct hw_cpu *cpu, u32 msr)
{
	const struct hw_vmpl *state = &cpu->state[cpu->vmpl];

	return msr == SEV_MSR_GHCB ? state->ghcb_msr : state->sev_status;
}

void hw_set_ghcb(struct hw_cpu *cpu, u64 value) { current(cpu)->ghcb_msr = value; }

/* LMA follows LME and CR0.PG: only the CPU changes it, and LME cannot change while paging is on. */
bool hw_efer(struct hw_cpu *cpu, bool write, u64 *value)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	if (!write) {
		*value = save->efer;
		return true;
	}
	if ((*value & EFER_RESERVED) || ((save->cr0 & CR0_PG) && ((*value ^ save->efer) & EFER_LME)))
		return false;
	save->efer = (*value & ~EFER_LMA) | (save->efer & EFER_LMA) | EFER_SVME;
	return true;
}

u64 hw_cr4(const struct hw_cpu *cpu) { return vmcb(cpu)->save.cr4; }

u64 hw_tsc_offset(const struct hw_cpu *cpu) { return vmcb(cpu)->control.tsc_offset; }

void hw_set_tsc_offset(struct hw_cpu *cpu, u64 offset)
{
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		cpu->state[vmpl].vmcb->control.tsc_offset = offset;
}

void hw_cpuid(const struct hw *hw, u32 leaf, u32 subleaf, struct cpuid_result *result)
{
	*result = cpuid(leaf, subleaf);
	if (hw->es && leaf == 7 && !subleaf)
		result->ebx |= (u32)LEAF7_EBX_RDSEED;
	if (hw->es && leaf == CPUID_XSAVE && subleaf == 1 && result->eax)
		result->eax |= (u32)(XSAVE_EAX_XSAVEC | XSAVE_EAX_XSAVES);
	if (leaf != SEV_CPUID_LEAF)
		return;
	*result = (struct cpuid_result){ 0 };
	if (!hw->encrypted)
		return;
	result->eax = (u32)(SEV_CPUID_EAX_SEV | (hw->es ? SEV_CPUID_EAX_SEV_ES : 0) | (hw->snp ? SEV_CPUID_EAX_SNP : 0));
	result->ebx = hw->machine->config->cbit;
	result->ecx = ENCRYPTED_GUESTS;
	result->edx = 1;
}
