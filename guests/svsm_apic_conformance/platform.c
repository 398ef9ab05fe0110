/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "platform.h"
#include "apic.h"
#include "cpu.h"
#include "io.h"
#include "hpet.h"
#include "serial.h"
#include "start.h"
#include "svsm_apic.h"
#include "vmgexit.h"

#define CPUID_FEATURES        1
#define CPUID_FEATURES_X2APIC BIT(21) /* ECX (APM vol. 3, E.3.2) */
#define CPUID_SIZES           0x80000008
#define CPUID_SIZES_PHYSICAL  0xFF    /* EAX (APM vol. 3, E.4.7) */
#define PHYSICAL_BITS_MAX     52      /* the architecture's limit, if the leaf is missing */

#define FW_CFG_SELECTOR       0x510   /* fw_cfg (QEMU docs/specs/fw_cfg.rst) */
#define FW_CFG_DATA           0x511
#define FW_CFG_SIGNATURE      0       /* item: "QEMU" */
#define FW_CFG_NB_CPUS        5       /* item: number of vCPUs, 16 bits */

struct platform platform;

static u64 fw_cfg(u16 item, u32 bytes)
{
	u64 value = 0;

	io_out(FW_CFG_SELECTOR, 2, item);
	for (u32 i = 0; i < bytes; i++)
		value |= (u64)io_in(FW_CFG_DATA, 1) << 8 * i;
	return value;
}

static u32 number_of_vcpus(void)
{
	return fw_cfg(FW_CFG_SIGNATURE, 4) == 0x554D4551 ? (u32)fw_cfg(FW_CFG_NB_CPUS, 2) : 1;
}

void platform_find(void)
{
	if (sev()) {
		platform.sev_status = rdmsr(SEV_MSR_STATUS);
		platform.hv_features = msr_protocol(GHCB_MSR_HV_FEATURES_REQ) >> GHCB_MSR_DATA_SHIFT;
	}
	platform.snp = platform.sev_status & SEV_STATUS_SNP;
	platform.svsm = has_svsm();
	msr_in(MSR_APIC_BASE, &platform.apic_base);
	platform.x2apic = cpuid(CPUID_FEATURES, 0).ecx & CPUID_FEATURES_X2APIC;
	platform.physical_bits = cpuid(CPUID_SIZES, 0).eax & CPUID_SIZES_PHYSICAL;
	if (!platform.physical_bits)
		platform.physical_bits = PHYSICAL_BITS_MAX;
	platform.vcpus = number_of_vcpus();
	platform.hpet = hpet_is_there();
	if (platform.svsm) {
		platform.apic_protocol = query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN);
		platform.apic_features = apic_call(SVSM_APIC_QUERY_FEATURES, 0, 0).rcx;
	}
	if (!platform.apic_protocol)
		platform.apic_features = 0;
}

static void print_fact(const char *what, u64 value)
{
	print("# ");
	print(what);
	print(" ");
	print_hex(value);
	print("\n");
}

void platform_print(void)
{
	print_fact("SEV_STATUS", platform.sev_status);
	print_fact("hypervisor features", platform.hv_features);
	print_fact("VMPL", own_vmpl());
	print_fact("APIC_BASE", platform.apic_base);
	print_fact("APIC protocol features", platform.apic_features);
	print_fact("vCPUs", platform.vcpus);
}

const char *platform_lacks(u32 needs)
{
	if ((needs & (NEED_SVSM | NEED_PROTOCOL | NEED_NO_PROTOCOL)) && !platform.svsm)
		return platform.snp ? "no SVSM" : "not an SEV-SNP guest";
	if ((needs & NEED_PROTOCOL) && !(platform.sev_status & SEV_STATUS_ALTERNATE_INJECTION))
		return "no Alternate Injection (SEV_STATUS bit 6)";
	if ((needs & NEED_PROTOCOL) && !platform.apic_protocol)
		return "the SVSM does not offer the APIC protocol";
	if ((needs & NEED_NO_PROTOCOL) && platform.apic_protocol)
		return "the SVSM offers the APIC protocol";
	if ((needs & NEED_X2APIC) && !platform.x2apic)
		return "no x2APIC (CPUID 1 ECX 21)";
	if ((needs & NEED_HV_TIMER) && !(platform.hv_features & HV_FEATURE_RESTRICTED_INJECTION_TIMER))
		return "no #HV timer (hypervisor feature bit 3)";
	if ((needs & NEED_SVSM_TIMER) && !(platform.apic_features & SVSM_APIC_FEATURE_TIMER))
		return "the SVSM does not serve the timer (QUERY_FEATURES bit 0)";
	if ((needs & NEED_HPET) && !platform.hpet)
		return "no HPET";
	if ((needs & NEED_OTHER_VCPU) && platform.vcpus < 2)
		return "one vCPU";
	if ((needs & NEED_OTHER_VCPU) && !(platform.hv_features & HV_FEATURE_AP_CREATION))
		return "no AP creation (hypervisor feature bit 1)";
	if ((needs & NEED_PROTOCOL_THERE) && platform.no_protocol_there)
		return "the SVSM does not offer the APIC protocol on the other vCPU";
	return NULL;
}
