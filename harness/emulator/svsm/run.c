/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request loop (COCONUT kernel/src/requests.rs): present interrupts and run the guest's VMPL. When the guest has
 * exited by VMGEXIT with a call pending, serve the call from its VMSA. Repeat.
 */
#include "run_vmpl.h"

#include "alternate.h"
#include "console.h"
#include "ghcb_call.h"
#include "hardware.h"
#include "protocol.h"
#include "svm_exit.h"
#include "x86.h"

#define REFUSALS_SHOWN 32 /* a guest may probe; the console is slow */

/* Reads the call from the calling area. call_pending is cleared before the call is served, so it is served once. */
static bool take_call(struct vcpu *vcpu)
{
	u64 header;

	if (!guest_read64(vcpu->caa_gpa, &header) || (u8)header == 0)
		return false;
	return guest_write8(vcpu->caa_gpa + SVSM_CAA_CALL_PENDING, 0);
}

static void serve_call(struct vcpu *vcpu, struct vmsa *vmsa)
{
	struct svsm_request request = {
		.protocol = (u32)(vmsa->rax >> 32),
		.call = (u32)vmsa->rax,
		.rcx = vmsa->rcx,
		.rdx = vmsa->rdx,
		.r8 = vmsa->r8,
		.sev_features = vmsa->sev_features,
	};
	u64 call = vmsa->rax;
	u64 result = protocol_dispatch(vcpu, &request);

	if (result != SVSM_SUCCESS && ++vcpu->refusals <= REFUSALS_SHOWN)
		console_line(vcpu, "SVSM: vCPU %u: protocol %u call %u refused with %lx: RCX %lx RDX %lx R8 %lx, RIP %lx%s",
			     vcpu->index, request.protocol, request.call, result, vmsa->rcx, vmsa->rdx, vmsa->r8,
			     vmsa->rip, vcpu->refusals == REFUSALS_SHOWN ? " (the last one shown)" : "");
	vmsa->rax = result;
	vmsa->rcx = request.rcx;
	vmsa->rdx = request.rdx;
	vmsa->r8 = request.r8;
	if (faults_keep_pending(vcpu->svsm, call))
		guest_write8(vcpu->caa_gpa + SVSM_CAA_CALL_PENDING, 1);
}

static u64 guest_vmsa_gpa(struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->vmsa_gpa, __ATOMIC_ACQUIRE);
}

/* Waits for CREATE_VCPU by another vCPU and AP creation by the guest, which ends HLT even if it was made before. */
static u64 wait_for_vmsa(struct vcpu *vcpu)
{
	u64 gpa;

	while ((gpa = guest_vmsa_gpa(vcpu)) == 0)
		halt();
	return gpa;
}

_Noreturn void run_guest(struct vcpu *vcpu)
{
	for (;;) {
		u64 vmsa_gpa = wait_for_vmsa(vcpu);
		struct vmsa *vmsa = guest_vmsa(vmsa_gpa);
		u32 error;

		if (__atomic_exchange_n(&vcpu->created, false, __ATOMIC_ACQUIRE))
			alternate_reset(vcpu);
		/* An old exit code would look like a new VMGEXIT. */
		vmsa->guest_exit_code = SVM_EXIT_INVALID;
		alternate_present(vcpu, vmsa);
		vmsa_enable(vmsa);
		error = run_vmpl(vcpu, vcpu->svsm->boot.guest_vmpl);
		if (guest_vmsa_gpa(vcpu) != vmsa_gpa) /* another vCPU has removed it, and may have set a new one */
			continue;
		if (error != RUN_VMPL_ENTERED && error != RUN_VMPL_CANCELLED) {
			if (vcpu->index != 0) { /* the guest has not made its AP creation event yet */
				halt();
				continue;
			}
			console_line(vcpu, "SVSM: the hypervisor cannot run VMPL%u: error %x; look for VMSA and RUN_VMPL "
				     "records of the host", vcpu->svsm->boot.guest_vmpl, error);
			ghcb_terminate(SVSM_TERM_RUN);
		}
		/* The VMSA cannot be entered while it changes. */
		vmsa_disable(vmsa);
		lapic_resume_event(&vcpu->lapic, vmsa);
		if (*(volatile u64 *)&vmsa->guest_exit_code == SVM_EXIT_VMGEXIT && take_call(vcpu))
			serve_call(vcpu, vmsa);
	}
}
