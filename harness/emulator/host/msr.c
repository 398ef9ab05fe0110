/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSR intercepts and accesses. */
#include "apic.h"
#include "cpu.h"
#include "host.h"

/* MSR permission map: three ranges, two bits an MSR: read, write (APM vol. 2, 15.11). */
#define PERMISSION_RANGE 0x2000u

static const u32 always_intercepted[] = { MSR_APIC_BASE, MSR_TSC_DEADLINE, SEV_MSR_GHCB, SEV_MSR_STATUS, MSR_VM_CR, MSR_VM_HSAVE_PA };

/* What KVM lets an SEV-ES guest access without an exit (arch/x86/kvm/svm: direct_access_msrs and sev_es_init_vmcb). */
static const u32 passed_through[] = {
	MSR_EFER,   0x277 /* PAT */,	   0xC0000081 /* STAR */,	  0xC0000082 /* LSTAR */,
	0xC0000083 /* CSTAR */,		   0xC0000084 /* SYSCALL_MASK */, 0xC0000100 /* FS_BASE */,
	0xC0000101 /* GS_BASE */,	   0xC0000102 /* KERNEL_GS_BASE */, 0xC0000103 /* TSC_AUX */,
	0x174 /* SYSENTER_CS */,	   0x175 /* SYSENTER_ESP */,	  0x176 /* SYSENTER_EIP */,
	0x10 /* TSC */,			   0x48 /* SPEC_CTRL */,	  0x49 /* PRED_CMD */,
	0xDA0 /* XSS */,
};

static u32 permission_bit(u32 msr)
{
	u32 index = msr & (PERMISSION_RANGE - 1);

	if (msr >= 0xC0010000)
		index += 2 * PERMISSION_RANGE;
	else if (msr >= 0xC0000000)
		index += PERMISSION_RANGE;
	return index * 2;
}

static void intercept(u8 *permissions, u32 msr) { permissions[permission_bit(msr) / 8] |= (u8)(3 << permission_bit(msr) % 8); }
static void pass(u8 *permissions, u32 msr) { permissions[permission_bit(msr) / 8] &= (u8)~(3 << permission_bit(msr) % 8); }

void msr_setup(struct host *host, u8 *permissions)
{
	if (host->sev && (host->config->vc_exits & CONFIG_VC_MSR)) {
		memset(permissions, 0xFF, 2 * PAGE_SIZE);
		for (u32 i = 0; i < sizeof(passed_through) / sizeof(passed_through[0]); i++)
			pass(permissions, passed_through[i]);
	}
	for (u32 i = 0; i < sizeof(always_intercepted) / sizeof(always_intercepted[0]); i++)
		intercept(permissions, always_intercepted[i]);
	for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++)
		intercept(permissions, msr);
}

static bool is_hosts_own(u32 msr)
{
	return msr == MSR_VM_CR || msr == MSR_VM_HSAVE_PA || msr == SEV_MSR_GHCB || msr == SEV_MSR_STATUS || msr == SEV_MSR_SVSM_CAA;
}

/* LMA follows LME and CR0.PG: it is the CPU's to change, and LME cannot change while the guest pages. */
static bool efer_access(struct vmcb_save *save, bool write, u64 *value)
{
	if (!write) {
		*value = save->efer;
		return true;
	}
	if ((*value & EFER_RESERVED) || ((save->cr0 & CR0_PG) && ((*value ^ save->efer) & EFER_LME)))
		return false;
	save->efer = (*value & ~EFER_LMA) | (save->efer & EFER_LMA) | EFER_SVME;
	return true;
}

/* An access the hypervisor makes for the guest. */
bool msr_access(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc)
{
	bool ok;

	if (apic_owns_msr(msr))
		return apic_msr(vcpu, msr, write, value, pc);
	if (is_hosts_own(msr)) {
		ok = false;
	} else if (msr == MSR_EFER) {
		ok = efer_access(&vmcb(vcpu)->save, write, value);
	} else {
		ok = write ? msr_write_safe(msr, *value) : msr_read_safe(msr, value);
	}
	if (log_at(vcpu, 1))
		log_write(vcpu, (struct record){ .kind = RECORD_MSR, .rip = pc, .address = msr, .value = ok || write ? *value : 0,
						 .size = 8, .path = RECORD_PATH_MSR, .outcome = ok ? RECORD_OK : RECORD_GP,
						 .flags = write ? RECORD_WRITE : 0 });
	return ok;
}

/* SEV_STATUS follows the SEV_FEATURES of the VMSA that runs (APM vol. 2, 15.34.10); VMPL0's was launched without one here. */
u64 sev_status(struct vcpu *vcpu)
{
	u64 configured = vcpu->host->config->sev_status[vcpu->vmpl];

	if (current(vcpu)->vmsa_gpa == NO_GPA)
		return configured;
	return (configured & (SEV_STATUS_SEV | SEV_STATUS_SEV_ES)) | current(vcpu)->sev_features << SEV_FEATURES_STATUS_SHIFT;
}

static void finish(struct vcpu *vcpu, bool write, bool ok, u64 value)
{
	if (!ok) {
		event_exception(vcpu, VECTOR_GP, true, 0);
		return;
	}
	if (!write) {
		vmcb(vcpu)->save.rax = (u32)value;
		current(vcpu)->gpr[GPR_RDX] = value >> 32;
	}
	guest_skip(vcpu, guest_instruction(vcpu)->length);
}

void msr_exit(struct vcpu *vcpu)
{
	u32 msr = (u32)current(vcpu)->gpr[GPR_RCX];
	bool write = vmcb(vcpu)->control.exit_info1 & 1;
	u64 value = write ? (u32)vmcb(vcpu)->save.rax | current(vcpu)->gpr[GPR_RDX] << 32 : 0;

	if (vcpu->host->sev && msr == SEV_MSR_GHCB) {
		if (write)
			current(vcpu)->ghcb_msr = value;
		finish(vcpu, write, true, current(vcpu)->ghcb_msr);
	} else if (vcpu->host->sev && msr == SEV_MSR_STATUS) {
		finish(vcpu, write, !write, sev_status(vcpu));
	} else if (vcpu->host->sev) {
		event_vc(vcpu, SVM_EXIT_MSR);
	} else {
		bool ok = msr_access(vcpu, msr, write, &value, guest_pc(vcpu));

		finish(vcpu, write, ok, value);
	}
}
