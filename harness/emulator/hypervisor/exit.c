/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loop.h"
#include "cpuid.h"
#include "hypercall.h"
#include "injection.h"
#include "interrupts.h"
#include "io.h"
#include "mmio.h"
#include "msr.h"
#include "pages.h"
#include "vmgexit.h"
#include "vmpl.h"

static void vmmcall(struct vcpu *vcpu)
{
	struct vmcb_save *save = hw_plain_registers(vcpu->cpu);
	const u64 *gpr = hw_plain_gprs(vcpu->cpu);

	save->rax = hypercall(vcpu, (struct hypercall){ .number = save->rax, .cpl = save->cpl,
						       .argument = { gpr[HW_RBX], gpr[HW_RCX], gpr[HW_RDX], gpr[HW_RSI] },
						       .wide = hw_plain_mode(vcpu->cpu) == 64 });
	hw_plain_step_over(vcpu->cpu);
}

static void cr8_written(struct vcpu *vcpu, u64 value)
{
	if (!current(vcpu)->alternate)
		vapic_set_tpr(own_apic(vcpu), (u8)(value << 4));
	vcpu->apic_dirty = true;
}

static void halted(struct vcpu *vcpu)
{
	if (!vcpu->apic_virtual)
		return;
	vcpu->apic_dirty = true;
	vcpu->wait = WAIT_INTERRUPT;
	vcpu->yield = true;
}

/* Each try may have another cause: a page is assigned, then split. */
static void nested_page_fault(struct vcpu *vcpu, struct hw_exit *exit)
{
	while (exit->code == SVM_EXIT_NPF) {
		if (!pages_fault(vcpu, exit)) {
			mmio_exit(vcpu, exit);
			return;
		}
	}
}

void exit_handle(struct vcpu *vcpu, struct hw_exit *exit)
{
	if (vcpu->stepping && mmio_step_exit(vcpu, exit))
		return;
	switch (exit->code) {
	case HW_EXIT_NONE:
		break;
	case SVM_EXIT_VMGEXIT:
		vmgexit(vcpu, exit->ghcb);
		break;
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI: /* has no effect: memory.c */
		devices_interrupt(vcpu);
		break;
	case SVM_EXIT_NPF:
		nested_page_fault(vcpu, exit);
		break;
	case SVM_EXIT_CR8_WRITE:
		cr8_written(vcpu, exit->info1);
		break;
	case SVM_EXIT_PAUSE: /* intercepted where there are several vCPUs */
		vcpu->yield = true;
		vcpu->paused = true;
		break;
	case SVM_EXIT_BUSY: /* VMPL0 has to inject the guest's event again */
		vmpl_return(vcpu, SVM_EXIT_NPF);
		break;
	case SVM_EXIT_HLT:
		halted(vcpu);
		break;
	case SVM_EXIT_IOIO:
		io_exit(vcpu, exit);
		break;
	case SVM_EXIT_MSR:
		msr_exit(vcpu);
		break;
	case SVM_EXIT_CPUID:
		cpuid_exit(vcpu);
		break;
	case SVM_EXIT_VMMCALL: /* the rest concerns plain guests only */
		vmmcall(vcpu);
		break;
	case SVM_EXIT_IRET:
		injection_iret(vcpu);
		break;
	case SVM_EXIT_EXC_DB:
		injection_after_iret(vcpu);
		break;
	case SVM_EXIT_SHUTDOWN:
		hw_stop(vcpu->cpu, RECORD_END_SHUTDOWN, 0, 0);
	case SVM_EXIT_INVALID:
		hw_stop(vcpu->cpu, RECORD_END_VMRUN, exit->info1, exit->info2);
	default:
		hw_stop(vcpu->cpu, RECORD_END_UNKNOWN_EXIT, exit->info1, exit->info2);
	}
}
