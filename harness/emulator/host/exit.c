/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What to do after each #VMEXIT. */
#include "cpu.h"
#include "host.h"
#include "insn.h"

static void cpuid_exit(struct vcpu *vcpu)
{
	struct cpuid_result r;

	if (vcpu->host->sev) {
		event_vc(vcpu, SVM_EXIT_CPUID);
		return;
	}
	guest_cpuid(vcpu, (u32)vmcb(vcpu)->save.rax, (u32)current(vcpu)->gpr[GPR_RCX], &r);
	vmcb(vcpu)->save.rax = r.eax;
	current(vcpu)->gpr[GPR_RBX] = r.ebx;
	current(vcpu)->gpr[GPR_RCX] = r.ecx;
	current(vcpu)->gpr[GPR_RDX] = r.edx;
	guest_skip(vcpu, guest_instruction(vcpu)->length);
}

/* VMMCALL and VMGEXIT share an opcode; F3 or F2 makes it VMGEXIT. RIP is advanced first: the request may change the VMPL. */
static void vmmcall_exit(struct vcpu *vcpu)
{
	const struct known_instruction *instruction = guest_instruction(vcpu);

	if (!vcpu->host->sev) {
		vmcb(vcpu)->save.rax = (u64)-1000; /* no hypercalls: KVM's answer for an unknown one */
		guest_skip(vcpu, instruction->length);
	} else if (instruction->which == INSN_SIMPLE_VMGEXIT) {
		guest_skip(vcpu, instruction->length);
		vmgexit(vcpu);
	} else {
		event_vc(vcpu, SVM_EXIT_VMMCALL);
	}
}

static void set_result(struct vcpu *vcpu, u32 result, bool carry)
{
	struct vmcb_save *save = &vmcb(vcpu)->save;

	save->rax = result;
	save->rflags = (save->rflags & ~RFLAGS_CF) | (carry ? RFLAGS_CF : 0);
}

/* PVALIDATE and RMPADJUST: the page behind the linear address in RAX. */
static void rmp_instruction(struct vcpu *vcpu, enum insn_simple which, u8 length)
{
	struct vmpl_state *state = current(vcpu);
	struct vmcb_save *save = &state->vmcb->save;
	bool large = state->gpr[GPR_RCX] & 1, unchanged = false;
	u32 result;
	u64 gpa;

	if (save->cpl) {
		event_exception(vcpu, VECTOR_GP, true, 0);
		return;
	}
	guest_pointer(vcpu, save->rax, &gpa);
	if (gpa == NO_GPA) {
		save->cr2 = save->rax;
		event_exception(vcpu, VECTOR_PF, true, 0);
		return;
	}
	gpa &= ~vcpu->host->c_bit & ~((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1);
	if (which == INSN_SIMPLE_PVALIDATE)
		result = rmp_pvalidate(vcpu, gpa, large, state->gpr[GPR_RDX] & 1, &unchanged);
	else
		result = rmp_adjust(vcpu, gpa, large, state->gpr[GPR_RDX]);
	set_result(vcpu, result, result == SEV_SUCCESS && unchanged);
	guest_skip(vcpu, length);
}

/* TCG does not know PVALIDATE and RMPADJUST. */
static void undefined_exit(struct vcpu *vcpu)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(vcpu, code, sizeof(code));
	u8 length = 0;
	enum insn_simple which = insn_decode_simple(code, available, guest_mode_bits(vcpu), &length);

	if (vcpu->host->sev && (which == INSN_SIMPLE_PVALIDATE || which == INSN_SIMPLE_RMPADJUST))
		rmp_instruction(vcpu, which, length);
	else
		event_exception(vcpu, VECTOR_UD, false, 0);
}

static void cr8_exit(struct vcpu *vcpu)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(vcpu, code, sizeof(code));
	u8 cr, gpr, length;
	u64 value;

	if (!insn_decode_cr_write(code, available, guest_mode_bits(vcpu), &cr, &gpr, &length) || cr != 8)
		host_stop(vcpu, RECORD_END_INSTRUCTION, *(a64 *)code, vmcb(vcpu)->control.exit_code);
	value = guest_gpr(vcpu, gpr);
	if (value & ~15ull) {
		event_exception(vcpu, VECTOR_GP, true, 0);
		return;
	}
	if (current(vcpu)->alternate)
		alternate_set_tpr(vcpu, (u8)value);
	else
		vapic_set_tpr(own_apic(vcpu), (u8)(value << 4));
	vcpu->apic_dirty = true;
	guest_skip(vcpu, length);
}

/* TCG takes INVD for WBINVD (7.2), and RDTSCP for RDTSC: only the instruction's bytes tell. */
static void wbinvd_exit(struct vcpu *vcpu)
{
	event_vc(vcpu, guest_instruction(vcpu)->which == INSN_SIMPLE_INVD ? SVM_EXIT_INVD : SVM_EXIT_WBINVD);
}

static void rdtsc_exit(struct vcpu *vcpu)
{
	const struct known_instruction *instruction = guest_instruction(vcpu);
	bool with_aux = instruction->which == INSN_SIMPLE_RDTSCP;
	u32 aux;
	u64 tsc;

	if (vc_on(vcpu, with_aux ? CONFIG_VC_RDTSCP : CONFIG_VC_RDTSC)) {
		event_vc(vcpu, with_aux ? SVM_EXIT_RDTSCP : SVM_EXIT_RDTSC);
		return;
	}
	tsc = rdtscp(&aux);
	vmcb(vcpu)->save.rax = (u32)tsc;
	current(vcpu)->gpr[GPR_RDX] = tsc >> 32;
	if (with_aux)
		current(vcpu)->gpr[GPR_RCX] = aux;
	guest_skip(vcpu, instruction->length);
}

static void hlt_exit(struct vcpu *vcpu)
{
	guest_skip(vcpu, guest_instruction(vcpu)->length);
	if (!vcpu->apic_virtual)
		return;
	vcpu->apic_dirty = true;
	vcpu->wait = WAIT_INTERRUPT;
	vcpu->yield = true;
}

/* Intercepted where there are several vCPUs. */
static void pause_exit(struct vcpu *vcpu)
{
	guest_skip(vcpu, guest_instruction(vcpu)->length);
	vcpu->yield = true;
}

static void nested_page_fault(struct vcpu *vcpu)
{
	if (!rmp_fault(vcpu))
		mmio_exit(vcpu);
}

void handle_exit(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vmcb(vcpu)->control;

	switch (control->exit_code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
		apic_physical_interrupt(vcpu);
		break;
	case SVM_EXIT_NPF:
		nested_page_fault(vcpu);
		break;
	case SVM_EXIT_IOIO:
		io_exit(vcpu);
		break;
	case SVM_EXIT_VMMCALL:
		vmmcall_exit(vcpu);
		break;
	case SVM_EXIT_MSR:
		msr_exit(vcpu);
		break;
	case SVM_EXIT_CPUID:
		cpuid_exit(vcpu);
		break;
	case SVM_EXIT_EXC_UD:
		undefined_exit(vcpu);
		break;
	case SVM_EXIT_CR8_WRITE:
		cr8_exit(vcpu);
		break;
	case SVM_EXIT_PAUSE:
		pause_exit(vcpu);
		break;
	case SVM_EXIT_HLT:
		hlt_exit(vcpu);
		break;
	case SVM_EXIT_RDTSC:
	case SVM_EXIT_RDTSCP:
		rdtsc_exit(vcpu);
		break;
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_INVD:
		wbinvd_exit(vcpu);
		break;
	case SVM_EXIT_RDPMC:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_DR7_READ:
	case SVM_EXIT_DR7_WRITE: /* intercepted only to become #VC */
		event_vc(vcpu, control->exit_code);
		break;
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD ... SVM_EXIT_SKINIT:
		event_exception(vcpu, VECTOR_UD, false, 0); /* the guest has no SVM */
		break;
	case SVM_EXIT_SHUTDOWN:
		host_stop(vcpu, RECORD_END_SHUTDOWN, 0, 0);
	case SVM_EXIT_INVALID:
		host_stop(vcpu, RECORD_END_VMRUN, vmcb(vcpu)->save.efer, vmcb(vcpu)->save.cr0);
	default:
		host_stop(vcpu, RECORD_END_UNKNOWN_EXIT, control->exit_info1, control->exit_info2);
	}
}
