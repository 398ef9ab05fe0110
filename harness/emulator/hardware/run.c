/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMRUN, and the part of each #VMEXIT that the hardware handles. */
#include "access.h"
#include "alternate.h"
#include "apic.h"
#include "event.h"
#include "ghcb.h"
#include "guest.h"
#include "insn.h"
#include "observe.h"
#include "rmp_instruction.h"
#include "sev.h"
#include "undefined.h"
#include "x86.h"

/* vm_enter.S */
void vm_enter(u64 *gpr, u64 vmcb_pa);

/*
 * Bits of CR0 and CR4 that make TCG flush its TLB when VMRUN or #VMEXIT changes them. The emulator's bits follow
 * the guest's, since it works with any of them; only LA57 differs.
 */
#define FLUSHING_CR0 CR0_WP
#define FLUSHING_CR4 (CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP)

static void follow_control_registers(struct hw *hw, const struct vmcb_save *save)
{
	if ((save->cr0 ^ hw->cr0) & FLUSHING_CR0) {
		hw->cr0 ^= (save->cr0 ^ hw->cr0) & FLUSHING_CR0;
		set_cr0(hw->cr0);
	}
	if ((save->cr4 ^ hw->cr4) & FLUSHING_CR4) {
		hw->cr4 ^= (save->cr4 ^ hw->cr4) & FLUSHING_CR4;
		set_cr4(hw->cr4);
	}
}

/* IA32_XSS exists and has no bits. */
static bool write_own_msr(struct hw_cpu *cpu, u32 msr, u64 value)
{
	if (msr == SEV_MSR_GHCB)
		current(cpu)->ghcb_msr = value;
	return msr == SEV_MSR_GHCB || (msr == MSR_XSS && !value);
}

/* Those of the processor that is below, which are not an APIC's. */
static bool is_native_msr(const struct hw_cpu *cpu, u32 msr)
{
	return cpu->hw->native_msr && msr < MSR_X2APIC_FIRST && msr != MSR_APIC_BASE && msr != MSR_TSC_DEADLINE;
}

/* The guest reads or writes the MSRs of SEV, and those that TCG lacks. Others are NAE events, or the hypervisor's. */
static void msr_exit(struct hw_cpu *cpu, struct hw_exit *exit)
{
	struct hw_msr_asked asked = hw_msr_asked(cpu);

	if (is_native_msr(cpu, asked.msr)) {
		hw_observe_image(cpu);
		exit->code = SVM_EXIT_MSR;
	} else if (asked.msr != SEV_MSR_GHCB && asked.msr != SEV_MSR_STATUS && asked.msr != MSR_XSS) {
		event_vc(cpu, SVM_EXIT_MSR);
	} else if (asked.write) {
		hw_msr_done(cpu, write_own_msr(cpu, asked.msr, asked.value), 0);
	} else {
		hw_msr_done(cpu, true, asked.msr == MSR_XSS ? 0 : hw_msr(cpu, asked.msr));
	}
}

#define VMGEXIT_CODE 0xD9010FF3u /* F3 0F 01 D9, in memory */

/*
 * A guest writes the GHCB MSR, and exits by the next instruction. A processor has no exit at the write, so both are carried
 * out at the write's: then the guest is behind the write, at its VMGEXIT. The fetch of that is allowed: the write's was, from
 * the same page. Interrupts wait for the end of the request, as if they had arrived during it.
 */
static bool ghcb_is_written_for_vmgexit(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);
	struct vmcb *page = state->vmcb;
	u32 length, next = 0;
	u64 pc;

	if ((u32)state->gpr[HW_RCX] != SEV_MSR_GHCB || !(page->control.exit_info1 & 1) || !cpu->hw->es ||
	    !cpu->hw->shortcuts || (page->save.rflags & RFLAGS_TF) || hw_event_pending(cpu))
		return false;
	length = guest_instruction(cpu)->length;
	pc = hw_observe_pc(cpu) + length;
	if ((pc - length) / PAGE_SIZE != (pc + sizeof(next) - 1) / PAGE_SIZE ||
	    guest_code_at(cpu, pc, (u8 *)&next, sizeof(next)) != sizeof(next) || next != VMGEXIT_CODE)
		return false;
	state->ghcb_msr = (u32)page->save.rax | state->gpr[HW_RDX] << 32;
	guest_skip(cpu, length);
	return true;
}

/* VMMCALL and VMGEXIT share an opcode; F3 or F2 makes it VMGEXIT. RIP is advanced first: the request may change the VMPL. */
static u64 vmmcall_exit(struct hw_cpu *cpu)
{
	const struct known_instruction *instruction = guest_instruction(cpu);

	if (instruction->which != INSN_SIMPLE_VMGEXIT) {
		event_vc(cpu, SVM_EXIT_VMMCALL);
		return HW_EXIT_NONE;
	}
	current(cpu)->vmgexit_pc = hw_observe_pc(cpu);
	guest_skip(cpu, instruction->length);
	return SVM_EXIT_VMGEXIT;
}

/*
 * TCG ends VMRUN with this exit also for a MOV to CR3 or CR4 with reserved bits, where a processor raises #GP
 * (helper_write_crN). If it does so although that #GP was to be delivered, VMRUN has failed.
 */
static void invalid_exit(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(cpu, code, sizeof(code));
	u8 cr, gpr, length;

	if (!hw_event_pending(cpu) && insn_decode_cr_write(code, available, guest_mode_bits(cpu), &cr, &gpr, &length) &&
	    (cr == 3 || cr == 4)) {
		guest_exception(cpu, X86_GP, true, 0);
		return;
	}
	exit->code = SVM_EXIT_INVALID;
	exit->info1 = vmcb(cpu)->save.efer;
	exit->info2 = vmcb(cpu)->save.cr0;
}

/* The value goes to the hypervisor, as with decode assists. */
static void cr8_exit(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(cpu, code, sizeof(code));
	u8 cr, gpr, length;
	u64 value;

	if (!insn_decode_cr_write(code, available, guest_mode_bits(cpu), &cr, &gpr, &length) || cr != 8)
		hw_stop(cpu, RECORD_END_INSTRUCTION, *(a64 *)code, vmcb(cpu)->control.exit_code);
	value = guest_gpr(cpu, gpr);
	if (value & ~15ull) {
		guest_exception(cpu, X86_GP, true, 0);
		return;
	}
	if (current(cpu)->alternate)
		alternate_set_tpr(cpu, (u8)value);
	exit->code = SVM_EXIT_CR8_WRITE;
	exit->info1 = value;
	guest_skip(cpu, length);
}

/* TCG reports INVD as WBINVD (7.2): only the instruction's bytes differ. */
static void wbinvd_exit(struct hw_cpu *cpu)
{
	event_vc(cpu, guest_instruction(cpu)->which == INSN_SIMPLE_INVD ? SVM_EXIT_INVD : SVM_EXIT_WBINVD);
}

/* TCG also reports RDTSCP as RDTSC. */
static void rdtsc_exit(struct hw_cpu *cpu)
{
	const struct known_instruction *instruction = guest_instruction(cpu);
	bool with_aux = instruction->which == INSN_SIMPLE_RDTSCP;
	u32 aux;
	u64 tsc;

	if (with_aux ? cpu->hw->vc_rdtscp : cpu->hw->vc_rdtsc) {
		event_vc(cpu, with_aux ? SVM_EXIT_RDTSCP : SVM_EXIT_RDTSC);
		return;
	}
	tsc = rdtscp(&aux) + hw_tsc_offset(cpu);
	vmcb(cpu)->save.rax = (u32)tsc;
	current(cpu)->gpr[HW_RDX] = tsc >> 32;
	if (with_aux)
		current(cpu)->gpr[HW_RCX] = aux;
	guest_skip(cpu, instruction->length);
}

/* A guest with SEV: most exits become #VC, few are automatic exits to the hypervisor (APM vol. 2, table 15-31). */
static void sev_exit(struct hw_cpu *cpu, u64 code, struct hw_exit *exit)
{
	switch (code) {
	case SVM_EXIT_MSR:
		msr_exit(cpu, exit);
		break;
	case SVM_EXIT_VMMCALL:
		exit->code = vmmcall_exit(cpu);
		exit->ghcb = current(cpu)->ghcb_msr;
		break;
	case SVM_EXIT_EXC_UD:
		undefined_exit(cpu, exit);
		break;
	case SVM_EXIT_EXC_GP:
		gp_exit(cpu, exit);
		break;
	case SVM_EXIT_RDTSC:
	case SVM_EXIT_RDTSCP:
		rdtsc_exit(cpu);
		break;
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_INVD:
		wbinvd_exit(cpu);
		break;
	case SVM_EXIT_IOIO:
		if (cpu->hw->native_io && !(vmcb(cpu)->control.exit_info1 & NAE_IOIO_STRING))
			exit->code = code;
		else
			event_vc(cpu, code);
		break;
	case SVM_EXIT_CPUID:
		if (cpu->hw->native_cpuid) {
			hw_observe_image(cpu);
			exit->code = code;
		} else {
			event_vc(cpu, code);
		}
		break;
	case SVM_EXIT_RDPMC:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_DR7_READ:
	case SVM_EXIT_DR7_WRITE:
		event_vc(cpu, code);
		break;
	default:
		exit->code = code;
	}
}

/* A guest with SEV only reads it without an exit, too. */
static bool is_sev_status(struct hw_cpu *cpu, u64 code)
{
	return code == SVM_EXIT_MSR && (u32)current(cpu)->gpr[HW_RCX] == SEV_MSR_STATUS;
}

static void serve(struct hw_cpu *cpu, u64 code, struct hw_exit *exit)
{
	exit->code = HW_EXIT_NONE;
	if (code == SVM_EXIT_MSR)
		observe_msr(cpu);
	switch (code) {
	case SVM_EXIT_NPF:
		access_fault(cpu, exit);
		break;
	case SVM_EXIT_CR8_WRITE:
		cr8_exit(cpu, exit);
		break;
	case SVM_EXIT_PAUSE:
	case SVM_EXIT_HLT:
		guest_skip(cpu, guest_instruction(cpu)->length);
		exit->code = code;
		break;
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD ... SVM_EXIT_SKINIT:
		guest_exception(cpu, X86_UD, false, 0); /* the guest has no SVM */
		break;
	case SVM_EXIT_INVALID:
	case (u32)SVM_EXIT_INVALID: /* QEMU 7.2 */
		invalid_exit(cpu, exit);
		break;
	default:
		if (cpu->hw->es || (cpu->hw->encrypted && is_sev_status(cpu, code))) {
			sev_exit(cpu, code, exit);
		} else {
			hw_observe_image(cpu);
			exit->code = code;
		}
	}
}

/* Interrupts of a VMPL without Alternate Injection: V_IRQ is clear again when the guest has taken the interrupt. */
static void log_taken(struct hw_cpu *cpu, struct hw_vmpl *state)
{
	u64 vector = (u64)state->offered;

	state->offered = -1;
	if (log_at(cpu, 2))
		hw_log(cpu, (struct record){ .kind = RECORD_INTERRUPT, .rip = hw_observe_pc(cpu), .address = vector,
					     .value = state->source });
}

/* Before the exit is served, which may advance RIP or switch the VMPL. */
static void log_exit_itself(struct hw_cpu *cpu, u64 code)
{
	const struct hw_vmpl *state = current(cpu);
	struct record record = { .kind = RECORD_EXIT, .rip = hw_observe_pc(cpu), .address = code,
				 .value = state->vmcb->control.exit_info1, .extra = state->vmcb->control.exit_info2 };

	if (code == SVM_EXIT_MSR)
		record.extra = (u32)state->gpr[HW_RCX];
	else if (code == SVM_EXIT_CPUID)
		record.extra = (u32)state->vmcb->save.rax;
	else if (code == SVM_EXIT_VMMCALL && cpu->hw->es && guest_instruction(cpu)->which == INSN_SIMPLE_VMGEXIT)
		record.address = SVM_EXIT_VMGEXIT;
	hw_log(cpu, record);
}

/* What msr_exit() would answer. */
static void allow_in_place(struct hw_cpu *cpu)
{
	struct in_place *to = &cpu->hw->in_place;

	to->ghcb = hw_msr(cpu, SEV_MSR_GHCB);
	to->sev_status = hw_msr(cpu, SEV_MSR_STATUS);
	to->allowed = cpu->hw->es && !log_at(cpu, 3);
}

static void apply(struct hw_vmpl *state, const struct hw_request *request)
{
	struct vmcb_control *control = &state->vmcb->control;

	control->vintr = request->vintr;
	control->intercept_cr = request->cr8_writes ? (u32)SVM_INTERCEPT_CR8_WRITE : 0;
	state->offered = request->vintr & SVM_V_IRQ ? (u8)(request->vintr >> SVM_V_VECTOR_SHIFT) : -1;
	state->source = request->source;
}

/*
 * A third of a guest's exits are reads of the GHCB MSR and of SEV_STATUS, which hardware does without an exit. Nothing
 * but the guest's registers changes, so the guest goes on without the pages that another exit needs. `vintr`: at the
 * entry; if the guest has changed its TPR or taken the interrupt, the hypervisor has to know.
 */
static bool is_answered_at_once(struct hw_cpu *cpu, struct hw_vmpl *state, u64 vintr)
{
	struct vmcb *page = state->vmcb;
	u32 msr = (u32)state->gpr[HW_RCX];

	if (page->control.exit_code != SVM_EXIT_MSR || (page->control.exit_info1 & 1) || (msr != SEV_MSR_GHCB && msr != SEV_MSR_STATUS))
		return false;
	if (!cpu->hw->es || !cpu->hw->shortcuts || state->alternate || log_at(cpu, 3) || cpu->executable[0] != NO_GPA ||
	    (page->control.exit_int_info & SVM_EVENT_VALID) || ((page->control.vintr ^ vintr) & (SVM_V_CR8 | SVM_V_IRQ)))
		return false;
	log_exit(cpu, SVM_EXIT_MSR);
	page->control.event_inj = 0;
	hw_msr_done(cpu, true, hw_msr(cpu, msr));
	return true;
}

/*
 * TCG keeps the vector of an interrupt that VMRUN injects, and delivers it once more if the processor leaves TCG's loop before
 * the next #VMEXIT, for a timer or for another processor (QEMU's helper_vmrun sets exception_index, cpu_handle_interrupt()
 * finds it). It does not with a software interrupt, which is the same at a CPL that may use each gate; RIP is what follows it.
 * VMRUN refuses an exception with such a vector.
 */
static void enter(struct hw_vmpl *state)
{
	struct vmcb *page = state->vmcb;
	struct vmcb_control *control = &page->control;
	u64 event = control->event_inj, software = event | SVM_EVENT_SOFTWARE, rip = page->save.rip;
	bool interrupt = (event & SVM_EVENT_VALID) && (event & SVM_EVENT_TYPE_MASK) == SVM_EVENT_INTR && page->save.cpl < 3;

	if (interrupt)
		control->event_inj = software;
	vm_enter(state->gpr, (u64)page);
	if (interrupt && page->save.rip == rip && control->exit_int_info == software) /* cut short */
		control->exit_int_info = event;
}

void hw_vmrun(struct hw_cpu *cpu, const struct hw_request *request, struct hw_exit *exit)
{
	struct hw_vmpl *state = current(cpu);
	struct vmcb *page = state->vmcb;
	u64 code, vintr;

	if (state->busy) {
		exit->code = SVM_EXIT_BUSY;
		exit->vintr = page->control.vintr;
		return;
	}
	if (request->vintr && !state->alternate)
		apply(state, request);
	if (page->control.interrupt_shadow && !hw_event_pending(cpu))
		hw_before_sti(cpu);
	if (state->alternate)
		alternate_before_entry(cpu);
	vintr = page->control.vintr;
	do {
		page->save.efer |= EFER_SVME; /* the guest may have cleared it; VMRUN needs it */
		follow_control_registers(cpu->hw, &page->save);
		allow_in_place(cpu);
		enter(state);
		cpu->hw->in_place.allowed = 0;
	} while (is_answered_at_once(cpu, state, vintr));
	code = page->control.exit_code;
	if (cpu->executable[0] != NO_GPA)
		access_after_exit(cpu);
	if (state->alternate)
		alternate_after_exit(cpu);
	else if (state->offered >= 0 && !(page->control.vintr & SVM_V_IRQ))
		log_taken(cpu, state);
	event_after_exit(cpu);
	if (code == SVM_EXIT_MSR && ghcb_is_written_for_vmgexit(cpu))
		code = SVM_EXIT_VMMCALL;
	log_exit(cpu, code);
	if (log_at(cpu, 3))
		log_exit_itself(cpu, code);
	exit->info1 = page->control.exit_info1;
	exit->info2 = page->control.exit_info2;
	exit->vintr = page->control.vintr;
	serve(cpu, code, exit);
	if (state->alternate && exit->code == SVM_EXIT_NPF)
		alternate_cut_short(cpu);
}

u32 hw_io_value(const struct hw_cpu *cpu) { return (u32)vmcb(cpu)->save.rax; }

/* IN of 4 bytes clears the upper half of RAX, of 1 and 2 it keeps the rest. EXITINFO2 is the next instruction's RIP. */
void hw_io_done(struct hw_cpu *cpu, const struct hw_exit *exit, u32 value)
{
	u32 size = (u32)(exit->info1 >> NAE_IOIO_SIZE_SHIFT) & 7;
	struct vmcb_save *save = &vmcb(cpu)->save;
	u64 kept = size == 4 ? 0 : save->rax & ~(BIT(8 * size) - 1);

	if (exit->info1 & NAE_IOIO_IN)
		save->rax = kept | value;
	guest_skip(cpu, (u32)(exit->info2 - save->rip));
}

struct hw_cpuid_asked hw_cpuid_asked(struct hw_cpu *cpu)
{
	return (struct hw_cpuid_asked){ .leaf = (u32)vmcb(cpu)->save.rax, .subleaf = (u32)current(cpu)->gpr[HW_RCX] };
}

void hw_cpuid_done(struct hw_cpu *cpu, const struct cpuid_result *result)
{
	u64 *gpr = current(cpu)->gpr;

	vmcb(cpu)->save.rax = result->eax;
	gpr[HW_RBX] = result->ebx;
	gpr[HW_RCX] = result->ecx;
	gpr[HW_RDX] = result->edx;
	guest_skip(cpu, guest_instruction(cpu)->length);
}

struct hw_msr_asked hw_msr_asked(struct hw_cpu *cpu)
{
	const struct vmcb *page = vmcb(cpu);
	const u64 *gpr = current(cpu)->gpr;
	bool write = page->control.exit_info1 & 1;

	return (struct hw_msr_asked){ .msr = (u32)gpr[HW_RCX], .write = write,
				      .value = write ? (u32)page->save.rax | gpr[HW_RDX] << 32 : 0 };
}

void hw_msr_done(struct hw_cpu *cpu, bool ok, u64 value)
{
	struct vmcb *page = vmcb(cpu);

	if (!ok) {
		guest_exception(cpu, X86_GP, true, 0);
		return;
	}
	if (!(page->control.exit_info1 & 1)) {
		page->save.rax = (u32)value;
		current(cpu)->gpr[HW_RDX] = value >> 32;
	}
	guest_skip(cpu, guest_instruction(cpu)->length);
}

void hw_retry(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u8 retry = cpu->retry;

	cpu->retry = RETRY_NOTHING;
	exit->code = HW_EXIT_NONE;
	if (retry == RETRY_INSTRUCTION)
		rmp_instruction_retry(cpu, exit);
	else if (retry == RETRY_ACCESS)
		access_fault(cpu, exit);
}
