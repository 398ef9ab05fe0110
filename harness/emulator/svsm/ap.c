/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ap.h"

#include "alternate.h"
#include "console.h"
#include "ghcb_call.h"
#include "nae.h"
#include "rmp.h"
#include "run_vmpl.h"
#include "sev.h"
#include "trap.h"
#include "vmsa_reset.h"
#include "x86.h"

extern const u8 ap_start[];

/* The state in which the host enters the boot vCPU (svsm_boot.h), except RIP and RSP. */
static void own_vmsa(struct vmsa *vmsa, const struct svsm *svsm, u64 stack)
{
	const struct vmsa_segment code = { .selector = 0x08, .attributes = 0xA9B, .limit = UINT32_MAX };
	const struct vmsa_segment data = { .selector = 0x10, .attributes = 0xC93, .limit = UINT32_MAX };

	vmsa_reset(vmsa, 0, svsm->sev_status >> SEV_FEATURES_STATUS_SHIFT, svsm->cpuid_signature);
	vmsa->cs = code;
	vmsa->ss = vmsa->ds = vmsa->es = data;
	vmsa->efer = read_efer() | VMSA_EFER_SVME;
	vmsa->cr0 = read_cr0();
	vmsa->cr3 = read_cr3();
	vmsa->cr4 = read_cr4();
	vmsa->rip = (u64)ap_start;
	vmsa->rsp = stack;
}

static bool start(struct vcpu *boot, u32 index)
{
	struct vcpu_area *area = &vcpu_areas[index];
	struct vcpu *vcpu = &area->vcpu;
	u64 gpa = (u64)&area->vmsa; /* VA = GPA */

	*vcpu = (struct vcpu){ .svsm = boot->svsm, .index = index, .apic_id = index };
	own_vmsa(&area->vmsa, boot->svsm, (u64)area + VCPU_STACK_TOP);
	if (rmp_set_own_vmsa(gpa, boot->svsm->boot.guest_vmpl) != SEV_SUCCESS ||
	    !nae_create_vmsa(boot, vcpu->apic_id, 0, gpa, area->vmsa.sev_features)) {
		console_line(boot, "SVSM: vCPU %u: VMSA %lx for VMPL0 was refused (RMPADJUST, NAE event %x)", index, gpa,
			     NAE_AP_CREATION);
		return false;
	}
	while (!__atomic_load_n(&vcpu->online, __ATOMIC_ACQUIRE))
		asm volatile("pause");
	return true;
}

bool ap_start_all(struct vcpu *boot)
{
	for (u32 i = 1; i < boot->svsm->vcpus; i++)
		if (!start(boot, i))
			return false;
	return true;
}

_Noreturn void ap_main(void)
{
	struct vcpu *vcpu = vcpu_current();

	trap_load();
	if (!ghcb_init(vcpu))
		ghcb_terminate(SVSM_TERM_GHCB);
	vcpu->console = true; /* the UART is set up */
	if (!alternate_init(vcpu))
		ghcb_terminate(SVSM_TERM_INJECTION);
	__atomic_store_n(&vcpu->online, true, __ATOMIC_RELEASE);
	run_guest(vcpu);
}
