/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID as the guest sees it: QEMU's, changed for SEV-SNP, the virtual APIC and the emulator's own features. */
#include "cpuid.h"
#include "apic_access.h"
#include "bytes.h"
#include "kvm_clock.h"
#include "x86.h"
#include "xstate.h"

#define LEAF1_EBX_APIC_ID       0xFF000000u
#define LEAF1_EBX_APIC_ID_SHIFT 24
#define LEAF1_ECX_MONITOR       BIT(3)
#define LEAF1_ECX_X2APIC        BIT(21)
#define LEAF1_ECX_TSC_DEADLINE  BIT(24)
#define LEAF1_ECX_OSXSAVE       BIT(27)
#define LEAF1_EDX_APIC          BIT(9)
#define LEAF7_ECX_LA57          BIT(16)
#define EXT1_ECX_SVM            BIT(2)
#define EXT1_ECX_EXTAPIC        BIT(3)
#define LINEAR_BITS             48u /* 80000008 EAX 15:8: five-level paging is the emulator's own */
#define EXT_MAX_LEAF            SEV_CPUID_LEAF

/* CPUID page of the launch (SNP firmware ABI, publication 56860, section 8.17.2.6). */
struct cpuid_entry {
	u32 leaf, subleaf;
	u64 xcr0, xss;
	u32 eax, ebx, ecx, edx;
	u64 reserved;
};
#define CPUID_PAGE_HEADER  16
#define CPUID_PAGE_ENTRIES 64

/* vCPU numbers are APIC IDs here. */
static u32 apic_id(const struct vcpu *vcpu)
{
	const struct host_config *config = vcpu->hv->config;

	return vcpu->index && (config->faults & CONFIG_FAULT_CPUID_ID) ? (u32)config->fault_apic_id : vcpu->index;
}

static void without_apic(struct vcpu *vcpu, u32 *edx)
{
	if (!apic_is_enabled(vcpu))
		*edx &= ~(u32)LEAF1_EDX_APIC;
}

static void leaf_1(struct vcpu *vcpu, struct cpuid_result *r)
{
	u32 hidden = vcpu->hv->config->hidden_features;

	r->ebx = (r->ebx & ~LEAF1_EBX_APIC_ID) | apic_id(vcpu) << LEAF1_EBX_APIC_ID_SHIFT;
	if (vcpu->hv->config->apic == CONFIG_APIC_VIRTUAL)
		r->ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE;
	if (hidden & CONFIG_HIDE_X2APIC)
		r->ecx &= ~(u32)LEAF1_ECX_X2APIC;
	if (hidden & CONFIG_HIDE_TSC_DEADLINE)
		r->ecx &= ~(u32)LEAF1_ECX_TSC_DEADLINE;
	r->ecx &= ~(u32)(LEAF1_ECX_OSXSAVE | LEAF1_ECX_MONITOR); /* KVM does not offer MONITOR */
	if (hw_cr4(vcpu->cpu) & CR4_OSXSAVE)
		r->ecx |= LEAF1_ECX_OSXSAVE;
	without_apic(vcpu, &r->edx);
}

/* The size of an area for these components of XSAVE, in one of its formats. */
static u32 xsave_size(struct vcpu *vcpu, u64 components, bool compact)
{
	u32 end = XSAVE_EXTENDED;

	for (u32 i = 2; i < XSTATE_COMPONENTS; i++) {
		struct cpuid_result r;

		if (!(components & BIT(i)))
			continue;
		hw_cpuid(vcpu->hv->hw, CPUID_XSAVE, i, &r);
		if (!compact)
			end = end < r.ebx + r.eax ? r.ebx + r.eax : end;
		else
			end = (r.ecx & XSAVE_ECX_ALIGNED ? (end + 63) & ~63u : end) + r.eax;
	}
	return end;
}

/* What XCR0 may have; IA32_XSS has no bit. */
static u64 xsave_components(struct vcpu *vcpu)
{
	struct cpuid_result r;

	hw_cpuid(vcpu->hv->hw, CPUID_XSAVE, 0, &r);
	return r.eax | (u64)r.edx << 32;
}

/* EBX follows XCR0, which the processor has of a plain guest only. QEMU 11 describes components that it does not have. */
static void leaf_xsave(struct vcpu *vcpu, u32 subleaf, struct cpuid_result *r)
{
	if (subleaf > 1 && (subleaf >= XSTATE_COMPONENTS || !(xsave_components(vcpu) & BIT(subleaf))))
		*r = (struct cpuid_result){ 0 };
	else if (vcpu->hv->es && subleaf <= 1 && r->eax)
		r->ebx = xsave_size(vcpu, current(vcpu)->xcr0, subleaf);
}

void cpuid_set_xcr0(struct vcpu *vcpu, u64 xcr0)
{
	bool half = (xcr0 & XSTATE_AVX) && !(xcr0 & XSTATE_SSE);

	if ((xcr0 & XSTATE_X87) && !(xcr0 & ~xsave_components(vcpu)) && !half)
		current(vcpu)->xcr0 = xcr0;
}

void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_result *r)
{
	const struct host_config *config = vcpu->hv->config;

	hw_cpuid(vcpu->hv->hw, leaf, subleaf, r);
	switch (leaf) {
	case 1:
		leaf_1(vcpu, r);
		break;
	case 5: /* MONITOR */
		*r = (struct cpuid_result){ 0 };
		break;
	case 7:
		if (!subleaf)
			r->ecx &= ~(u32)LEAF7_ECX_LA57;
		break;
	case 0xB: /* extended topology: EDX is the x2APIC ID */
	case 0x1F:
	case 0x80000026:
		r->edx = apic_id(vcpu);
		break;
	case CPUID_XSAVE:
		leaf_xsave(vcpu, subleaf, r);
		break;
	case KVM_CPUID_SIGNATURE:
	case KVM_CPUID_FEATURES:
		kvm_clock_cpuid(leaf, r);
		break;
	case 0x80000000:
		if (vcpu->hv->encrypted && r->eax < EXT_MAX_LEAF)
			r->eax = EXT_MAX_LEAF;
		break;
	case 0x80000001:
		r->ecx &= ~(u32)(EXT1_ECX_SVM | EXT1_ECX_EXTAPIC);
		without_apic(vcpu, &r->edx);
		break;
	case 0x80000008:
		r->eax = (r->eax & ~0xFFFFu) | LINEAR_BITS << 8 | config->phys_bits;
		break;
	case 0x8000000A: /* SVM */
		*r = (struct cpuid_result){ 0 };
		break;
	case 0x8000001E: /* APIC ID; EBX 7:0: the core, of one thread */
		r->eax = apic_id(vcpu);
		r->ebx = (r->ebx & ~0xFFu) | vcpu->index;
		break;
	case SEV_CPUID_LEAF:
		if (has_svsm(vcpu->hv))
			r->eax |= (u32)SEV_CPUID_EAX_SVSM_MSR;
		break;
	}
}

struct leaf_range {
	u32 leaf;
	u32 subleaves;
};

void cpuid_fill_page(struct vcpu *vcpu, u8 *page)
{
	static const struct leaf_range leaves[] = {
		{ 0, 1 }, { 1, 1 }, { 2, 1 }, { 5, 1 }, { 6, 1 }, { 7, 2 }, { 0xB, 2 }, { CPUID_XSAVE, XSTATE_COMPONENTS },
		{ KVM_CPUID_SIGNATURE, 1 }, { KVM_CPUID_FEATURES, 1 },
		{ 0x80000000, 1 }, { 0x80000001, 1 }, { 0x80000002, 1 }, { 0x80000003, 1 }, { 0x80000004, 1 },
		{ 0x80000005, 1 }, { 0x80000006, 1 }, { 0x80000007, 1 }, { 0x80000008, 1 }, { 0x8000000A, 1 },
		{ 0x80000019, 1 }, { 0x8000001A, 1 }, { 0x8000001D, 4 }, { 0x8000001E, 1 }, { SEV_CPUID_LEAF, 1 },
		{ 0x80000021, 1 },
	};
	struct cpuid_entry *entry = (struct cpuid_entry *)(page + CPUID_PAGE_HEADER);
	u32 count = 0;

	memset(page, 0, PAGE_SIZE);
	for (u32 i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		for (u32 sub = 0; sub < leaves[i].subleaves && count < CPUID_PAGE_ENTRIES; sub++) {
			struct cpuid_result r;

			cpuid_guest(vcpu, leaves[i].leaf, sub, &r);
			if (sub && !(r.eax | r.ebx | r.ecx | r.edx))
				continue;
			/* The guest looks for the entries of the first XCR0 that it has, and computes the sizes for others. */
			*entry = (struct cpuid_entry){ .leaf = leaves[i].leaf, .subleaf = sub, .eax = r.eax, .ebx = r.ebx,
						       .ecx = r.ecx, .edx = r.edx,
						       .xcr0 = leaves[i].leaf == CPUID_XSAVE && sub <= 1 ? XSTATE_X87 : 0 };
			entry++;
			count++;
		}
	}
	*(u32 *)page = count;
}

void cpuid_exit(struct vcpu *vcpu)
{
	struct hw_cpuid_asked asked = hw_cpuid_asked(vcpu->cpu);
	struct cpuid_result r;

	if (asked.leaf == CPUID_XSAVE)
		cpuid_set_xcr0(vcpu, xgetbv()); /* the guest's, which an NAE event brings in the GHCB */
	cpuid_guest(vcpu, asked.leaf, asked.subleaf, &r);
	hw_cpuid_done(vcpu->cpu, &r);
}
