/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "msr.h"
#include "apic.h"
#include "apic_access.h"
#include "bytes.h"
#include "kvm_clock.h"
#include "msr_permissions.h"
#include "own_msr.h"
#include "x86.h"

static const u32 always_intercepted[] = { MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_TSC /* TCG has none */ };

/* What KVM lets an SEV-ES guest access without an exit (arch/x86/kvm/svm: direct_access_msrs and sev_es_init_vmcb). */
static const u32 passed_through[] = {
	MSR_EFER,   0x277 /* PAT */,	   0xC0000081 /* STAR */,	  0xC0000082 /* LSTAR */,
	0xC0000083 /* CSTAR */,		   0xC0000084 /* SYSCALL_MASK */, 0xC0000100 /* FS_BASE */,
	0xC0000101 /* GS_BASE */,	   0xC0000102 /* KERNEL_GS_BASE */, 0xC0000103 /* TSC_AUX */,
	0x174 /* SYSENTER_CS */,	   0x175 /* SYSENTER_ESP */,	  0x176 /* SYSENTER_EIP */,
	0x48 /* SPEC_CTRL */,		   0x49 /* PRED_CMD */,		  0xDA0 /* XSS */,
};

void msr_setup(struct hypervisor *hv, u8 *permissions)
{
	if (hv->es && (hv->config->vc_exits & CONFIG_VC_MSR)) {
		memset(permissions, 0xFF, 2 * PAGE_SIZE);
		for (u32 i = 0; i < sizeof(passed_through) / sizeof(passed_through[0]); i++)
			msr_pass(permissions, passed_through[i]);
	}
	for (u32 i = 0; i < sizeof(always_intercepted) / sizeof(always_intercepted[0]); i++)
		msr_intercept(permissions, always_intercepted[i]);
	own_msr_intercept(permissions);
	for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++)
		msr_intercept(permissions, msr);
}

static bool is_hidden(u32 msr)
{
	return msr == MSR_VM_CR || msr == MSR_VM_HSAVE_PA || msr == SEV_MSR_GHCB || msr == SEV_MSR_STATUS || msr == SEV_MSR_SVSM_CAA;
}

/* As KVM without TSC_ADJUST: a write changes the offset (kvm_set_msr_common, MSR_IA32_TSC). */
static void tsc_msr(struct vcpu *vcpu, bool write, u64 *value)
{
	if (write) {
		hw_set_tsc_offset(vcpu->cpu, *value - rdtsc());
		kvm_clock_tsc_changed(vcpu);
	} else {
		*value = rdtsc() + hw_tsc_offset(vcpu->cpu);
	}
}

/* An access the hypervisor makes for the guest. */
bool msr_access(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc)
{
	bool ok = true;
	u64 *own;

	if (apic_owns_msr(msr))
		return apic_msr(vcpu, msr, write, value, pc);
	own = own_msr(vcpu, msr);
	if (is_hidden(msr)) {
		ok = false;
	} else if (msr == MSR_TSC) {
		tsc_msr(vcpu, write, value);
	} else if (kvm_clock_owns_msr(msr)) {
		kvm_clock_msr(vcpu, msr, write, value);
	} else if (msr == MSR_EFER) {
		ok = hw_efer(vcpu->cpu, write, value);
	} else if (own && write) {
		ok = own_msr_accepts(vcpu, msr, *value);
		if (ok)
			*own = *value;
	} else if (own) {
		*value = *own;
	} else {
		ok = write ? msr_write_safe(msr, *value) : msr_read_safe(msr, value);
	}
	if (log_at(vcpu, 1))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_MSR, .rip = pc, .address = msr, .value = ok || write ? *value : 0,
						 .size = 8, .path = RECORD_PATH_MSR, .outcome = ok ? RECORD_OK : RECORD_GP,
						 .flags = write ? RECORD_WRITE : 0 });
	return ok;
}

void msr_exit(struct vcpu *vcpu)
{
	struct hw_msr_asked asked = hw_msr_asked(vcpu->cpu);
	u64 value = asked.value;
	bool ok = msr_access(vcpu, asked.msr, asked.write, &value, hw_observe_pc(vcpu->cpu));

	hw_msr_done(vcpu->cpu, ok, value);
}
