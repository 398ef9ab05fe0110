/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nae.h"
#include "apic.h"
#include "apic_access.h"
#include "bytes.h"
#include "cpuid.h"
#include "hypercall.h"
#include "injection.h"
#include "io.h"
#include "memory.h"
#include "mmio.h"
#include "msr.h"
#include "pages.h"
#include "vmpl.h"
#include "x86.h"

#define WRONG_VALUE 0xA5A5A5A5u /* no register has it */

/* SW_EXITCODE, SW_EXITINFO1 and SW_EXITINFO2 in the valid bitmap. */
#define EXIT_FIELDS_BYTE (GHCB_VALID_BIT(GHCB_SW_EXITCODE) / 8)
#define EXIT_FIELDS      (7u << GHCB_VALID_BIT(GHCB_SW_EXITCODE) % 8)

static void exception(struct nae *nae, u64 event)
{
	nae->result1 = NAE_RESULT_EXCEPTION;
	nae->result2 = event;
}

/* The guest's buffer for strings, MMIO and page state changes: from version 2 on inside the GHCB's shared buffer. */
static u8 *scratch(struct nae *nae, u64 size)
{
	u64 offset = nae_get(nae, GHCB_SW_SCRATCH) - nae->gpa - GHCB_SHARED_BUFFER;

	if (!nae_need(nae, GHCB_SW_SCRATCH, GHCB_SW_SCRATCH))
		return NULL;
	if (offset > GHCB_SHARED_BUFFER_SIZE || size > GHCB_SHARED_BUFFER_SIZE - offset) {
		nae_refuse(nae, NAE_ERR_INVALID_SCRATCH);
		return NULL;
	}
	return nae->ghcb + GHCB_SHARED_BUFFER + offset;
}

static void nae_cpuid(struct vcpu *vcpu, struct nae *nae)
{
	struct cpuid_result r;

	if (!nae_need(nae, GHCB_RAX, GHCB_RCX))
		return;
	if ((u32)nae_get(nae, GHCB_RAX) == CPUID_XSAVE) {
		if (!nae_need(nae, GHCB_XCR0, GHCB_XCR0))
			return;
		cpuid_set_xcr0(vcpu, nae_get(nae, GHCB_XCR0));
	}
	cpuid_guest(vcpu, (u32)nae_get(nae, GHCB_RAX), (u32)nae_get(nae, GHCB_RCX), &r);
	nae_set(nae, GHCB_RAX, r.eax);
	nae_set(nae, GHCB_RBX, r.ebx);
	nae_set(nae, GHCB_RCX, r.ecx);
	nae_set(nae, GHCB_RDX, r.edx);
}

static u64 written(const struct nae *nae) { return (u32)nae_get(nae, GHCB_RAX) | nae_get(nae, GHCB_RDX) << 32; }

static void read(struct nae *nae, u64 value)
{
	nae_set(nae, GHCB_RAX, (u32)value);
	nae_set(nae, GHCB_RDX, value >> 32);
}

/* Deliberate faults: the access is not made, but answered. */
static bool wrong_answer(struct vcpu *vcpu, struct nae *nae, bool write)
{
	const struct host_config *config = vcpu->hv->config;
	u32 msr = (u32)nae_get(nae, GHCB_RCX);
	u64 value = write ? written(nae) : msr == MSR_APIC_BASE ? config->fault_apic_base : WRONG_VALUE;
	bool of_apic = msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST;

	if (vcpu->vmpl == 0)
		return false;
	if (of_apic && msr == config->fault_register && fault_now(vcpu, CONFIG_FAULT_REFUSAL)) {
		nae->result1 = config->fault_info1;
		nae->result2 = config->fault_info2;
		apic_msr_not_made(vcpu, msr, write, write ? value : 0, false, nae->pc);
		return true;
	}
	if (!(of_apic && fault_now(vcpu, CONFIG_FAULT_NAE)) &&
	    !(msr == MSR_APIC_BASE && fault_now(vcpu, write ? CONFIG_FAULT_BASE_WRITE : CONFIG_FAULT_BASE_READ)))
		return false;
	read(nae, value);
	apic_msr_not_made(vcpu, msr, write, value, true, nae->pc);
	return true;
}

static void nae_msr(struct vcpu *vcpu, struct nae *nae)
{
	bool write = nae->info1 == NAE_MSR_WRITE;
	u64 value = 0;

	if (!nae_need(nae, GHCB_RCX, GHCB_RCX) || (write && !nae_need(nae, GHCB_RAX, GHCB_RDX)))
		return;
	if (wrong_answer(vcpu, nae, write))
		return;
	if (write)
		value = written(nae);
	if (!msr_access(vcpu, (u32)nae_get(nae, GHCB_RCX), write, &value, nae->pc)) {
		exception(nae, NAE_EVENTINJ_GP);
		return;
	}
	if (!write)
		read(nae, value);
}

static void nae_ioio_string(struct vcpu *vcpu, struct nae *nae, u16 port, u32 size)
{
	u64 count = nae->info2;
	u8 *buffer;

	if (count > GHCB_SHARED_BUFFER_SIZE) {
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
		return;
	}
	buffer = scratch(nae, count * size);
	if (buffer)
		io_string(vcpu, port, size, nae->info1 & NAE_IOIO_IN, buffer, count);
}

static void nae_ioio(struct vcpu *vcpu, struct nae *nae)
{
	u32 size = (nae->info1 >> NAE_IOIO_SIZE_SHIFT) & 7;
	u16 port = (u16)(nae->info1 >> NAE_IOIO_PORT_SHIFT);

	if (size != 1 && size != 2 && size != 4)
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
	else if (nae->info1 & NAE_IOIO_STRING)
		nae_ioio_string(vcpu, nae, port, size);
	else if (nae->info1 & NAE_IOIO_IN)
		nae_set(nae, GHCB_RAX, io_read(vcpu, port, size));
	else if (nae_need(nae, GHCB_RAX, GHCB_RAX))
		io_write(vcpu, port, size, (u32)nae_get(nae, GHCB_RAX));
}

/* The first access of a length that no instruction has, as QEMU's memory regions split it. */
static u32 mmio_part(u64 gpa, u64 size)
{
	u32 part = 8;

	if (size == 1 || size == 2 || size == 4 || size == 8)
		return (u32)size;
	while (part > size || (gpa & (part - 1)))
		part /= 2;
	return part;
}

/* KVM takes any length, 0 as well (sev_handle_vmgexit, kvm_sev_es_mmio_read). */
static void nae_mmio(struct vcpu *vcpu, struct nae *nae, bool write)
{
	u64 gpa = nae->info1, size = nae->info2;
	u8 *buffer = scratch(nae, size);

	while (buffer && size) {
		u32 part = mmio_part(gpa, size);
		u64 value = 0;

		if (write)
			memcpy(&value, buffer, part);
		mmio_access(vcpu, gpa, part, write, &value, nae->pc);
		if (!write)
			memcpy(buffer, &value, part);
		buffer += part;
		gpa += part;
		size -= part;
	}
}

static void nae_rdtsc(struct vcpu *vcpu, struct nae *nae, bool with_aux)
{
	u32 aux = 0;
	u64 tsc = (with_aux ? rdtscp(&aux) : rdtsc()) + hw_tsc_offset(vcpu->cpu);

	nae_set(nae, GHCB_RAX, (u32)tsc);
	nae_set(nae, GHCB_RDX, tsc >> 32);
	if (with_aux)
		nae_set(nae, GHCB_RCX, aux);
}

/* DR7 of the guest: stored for it, as KVM does without debug swap. The CPU's DR7 stays: no breakpoint is armed. */
static void nae_dr7(struct vcpu *vcpu, struct nae *nae, bool write)
{
	if (!write)
		nae_set(nae, GHCB_RAX, current(vcpu)->dr7);
	else if (nae_need(nae, GHCB_RAX, GHCB_RAX))
		current(vcpu)->dr7 = (u32)nae_get(nae, GHCB_RAX) | DR7_RESET; /* bit 10 always reads as one */
}

/* Entries are read once: the guest may change them meanwhile. */
static void nae_psc(struct vcpu *vcpu, struct nae *nae)
{
	u8 *buffer = scratch(nae, sizeof(struct nae_psc_header));
	u16 current_entry, end;

	if (!buffer)
		return;
	current_entry = *(volatile a16 *)buffer;
	end = *(volatile a16 *)(buffer + 2);
	if (end >= NAE_PSC_ENTRIES) {
		nae->result2 = NAE_PSC_ERR_HEADER;
		return;
	}
	if (!scratch(nae, sizeof(struct nae_psc_header) + (end + 1u) * sizeof(u64)))
		return;
	for (; current_entry <= end; current_entry++) {
		u64 entry = *(volatile a64 *)(buffer + sizeof(struct nae_psc_header) + current_entry * sizeof(u64));

		if (!pages_change(vcpu, entry & NAE_PSC_GFN_MASK, (u32)(entry >> NAE_PSC_OP_SHIFT) & 15, entry & NAE_PSC_2M)) {
			nae->result2 = NAE_PSC_ERR_ENTRY;
			break;
		}
	}
	*(volatile a16 *)buffer = current_entry;
}

static void nae_run_vmpl(struct vcpu *vcpu, struct nae *nae)
{
	if (!vmpl_switch(vcpu, (u32)nae->info1))
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
}

/* Registers that the guest has not supplied are 0. */
static void nae_vmmcall(struct vcpu *vcpu, struct nae *nae)
{
	static const u16 registers[4] = { GHCB_RBX, GHCB_RCX, GHCB_RDX, GHCB_RSI };
	struct hypercall call = { .number = nae_get(nae, GHCB_RAX), .wide = true };

	if (!nae_need(nae, GHCB_RAX, GHCB_CPL))
		return;
	call.cpl = nae->ghcb[GHCB_CPL];
	for (u32 i = 0; i < 4; i++)
		call.argument[i] = nae_supplied(nae, registers[i]) ? nae_get(nae, registers[i]) : 0;
	nae_set(nae, GHCB_RAX, hypercall(vcpu, call));
}

/* No counters. */
static void nae_rdpmc(struct nae *nae)
{
	if (nae_need(nae, GHCB_RCX, GHCB_RCX))
		exception(nae, NAE_EVENTINJ_GP);
}

static bool is_of_snp(u64 code)
{
	return code == NAE_PSC || code == NAE_GUEST_REQUEST || code == NAE_EXTENDED_GUEST_REQUEST || code == NAE_AP_CREATION;
}

static void dispatch(struct vcpu *vcpu, struct nae *nae)
{
	if (!vcpu->hv->snp && is_of_snp(nae->code)) { /* sev_es_validate_vmgexit */
		nae_refuse(nae, NAE_ERR_MISSING_INPUT);
		return;
	}
	switch (nae->code) {
	case NAE_CPUID: nae_cpuid(vcpu, nae); break;
	case NAE_MSR: nae_msr(vcpu, nae); break;
	case NAE_IOIO: nae_ioio(vcpu, nae); break;
	case NAE_MMIO_READ: nae_mmio(vcpu, nae, false); break;
	case NAE_MMIO_WRITE: nae_mmio(vcpu, nae, true); break;
	case NAE_RDTSC: nae_rdtsc(vcpu, nae, false); break;
	case NAE_RDTSCP: nae_rdtsc(vcpu, nae, true); break;
	case NAE_RDPMC: nae_rdpmc(nae); break;
	case NAE_DR7_READ: nae_dr7(vcpu, nae, false); break;
	case NAE_DR7_WRITE: nae_dr7(vcpu, nae, true); break;
	case NAE_WBINVD:
	case NAE_INVD: break; /* as on KVM: nothing to do */
	case NAE_NMI_COMPLETE: injection_open_nmi(vcpu); break;
	case NAE_MONITOR: (void)(nae_need(nae, GHCB_RAX, GHCB_RCX) && nae_need(nae, GHCB_RDX, GHCB_RDX)); break;
	case NAE_MWAIT: nae_need(nae, GHCB_RAX, GHCB_RCX); break;
	case NAE_VMMCALL: nae_vmmcall(vcpu, nae); break;
	case NAE_AP_RESET_HOLD: nae_ap_reset_hold(vcpu, nae); break;
	case NAE_AP_JUMP_TABLE: nae_ap_jump_table(vcpu, nae); break;
	case NAE_PSC: nae_psc(vcpu, nae); break;
	case NAE_GUEST_REQUEST: nae_guest_request(vcpu, nae); break;
	case NAE_EXTENDED_GUEST_REQUEST: nae_extended_guest_request(vcpu, nae); break;
	case NAE_AP_CREATION: nae_ap_creation(vcpu, nae); break;
	case NAE_HV_DOORBELL: nae_doorbell(vcpu, nae); break;
	case NAE_HV_IPI: nae_hv_ipi(vcpu, nae); break;
	case NAE_HV_TIMER: nae_hv_timer(vcpu, nae); break;
	case NAE_CONFIGURE_INJECTION: nae_configure_injection(vcpu, nae); break;
	case NAE_DISABLE_ALTERNATE_INJECTION: nae_disable_alternate_injection(vcpu, nae); break;
	case NAE_SPECIFIC_EOI: nae_specific_eoi(vcpu, nae); break;
	case NAE_APIC_IDS: nae_apic_ids(vcpu, nae); break;
	case NAE_RUN_VMPL: nae_run_vmpl(vcpu, nae); break;
	case NAE_HV_FEATURES: nae->result2 = vcpu->hv->config->hv_features; break;
	case NAE_TERMINATE: hw_stop(vcpu->cpu, RECORD_END_TERMINATE, nae->info1, nae->info2);
	case NAE_UNSUPPORTED: hw_stop(vcpu->cpu, RECORD_END_NAE, nae->info1, nae->info2);
	default: nae_refuse(nae, NAE_ERR_INVALID_EVENT); break;
	}
}

static bool is_frequent(u64 code) { return code == NAE_IOIO || code == NAE_MMIO_READ || code == NAE_MMIO_WRITE; }

/* The GHCB page; its address is valid until a page state changes. */
static u8 *ghcb_page(struct vcpu *vcpu, u64 gpa)
{
	struct vmpl_state *state = current(vcpu);

	if (state->ghcb_page != gpa || state->ghcb_generation != vcpu->hv->generation || !state->ghcb) {
		state->ghcb = memory_shared(vcpu->hv, gpa, PAGE_SIZE);
		state->ghcb_page = gpa;
		state->ghcb_generation = vcpu->hv->generation;
	}
	return state->ghcb;
}

/* What KVM does without a GHCB that it can use: sev_handle_vmgexit. */
void nae_event(struct vcpu *vcpu, u64 ghcb_gpa)
{
	const struct vmpl_state *state = current(vcpu);
	struct nae nae = { .gpa = ghcb_gpa };

	nae.ghcb = ghcb_page(vcpu, nae.gpa);
	if (!nae.ghcb) /* of a private page KVM reads and answers the shared side, which the guest does not see */
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_RMP_VIOLATION, .rip = hw_observe_pc(vcpu->cpu), .address = nae.gpa,
						 .aux = RECORD_VIOLATION_GHCB });
	if (!nae.gpa || !memory_region(vcpu->hv, nae.gpa)) /* KVM resumes the guest without an answer */
		return;
	if (vcpu->hv->snp && nae.gpa != state->ghcb_gpa) /* KVM_RUN fails */
		hw_stop(vcpu->cpu, RECORD_END_GHCB, nae.gpa, 0);
	if (!nae.ghcb)
		return;
	nae.code = nae_get(&nae, GHCB_SW_EXITCODE);
	nae.info1 = nae_get(&nae, GHCB_SW_EXITINFO1);
	nae.info2 = nae_get(&nae, GHCB_SW_EXITINFO2);
	nae.pc = hw_observe_vc_pc(vcpu->cpu, nae.code);
	memcpy(nae.valid, nae.ghcb + GHCB_VALID_BITMAP, sizeof(nae.valid));
	memset(nae.ghcb + GHCB_VALID_BITMAP, 0, sizeof(nae.valid));

	if (*(volatile a32 *)(nae.ghcb + GHCB_USAGE) != GHCB_USAGE_STANDARD)
		nae_refuse(&nae, NAE_ERR_INVALID_USAGE);
	else if ((nae.valid[EXIT_FIELDS_BYTE] & EXIT_FIELDS) != EXIT_FIELDS)
		nae_refuse(&nae, NAE_ERR_MISSING_INPUT);
	else
		dispatch(vcpu, &nae);
	/* A VMPL switch has records of its own, and another VMPL is current after it. */
	if (nae.result1 || (nae.code != NAE_RUN_VMPL && log_at(vcpu, is_frequent(nae.code) ? 2 : 1)))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_NAE, .rip = nae.pc, .address = nae.code, .value = nae.info1,
						 .extra = nae.info2, .aux = (u32)nae.result2,
						 .outcome = nae.result1 == NAE_RESULT_EXCEPTION ? RECORD_GP : nae.result1 ? RECORD_ERROR : RECORD_OK });
	nae_set(&nae, GHCB_SW_EXITINFO1, nae.result1);
	nae_set(&nae, GHCB_SW_EXITINFO2, nae.result2);
}
