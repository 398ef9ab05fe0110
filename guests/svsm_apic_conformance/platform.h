/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of this machine, found at run time. They decide which points can run. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "types.h"

struct platform {
	u64 sev_status;      /* MSR C0010131, 0 without SEV */
	u64 hv_features;     /* GHCB hypervisor features */
	u64 apic_base;       /* MSR 1B before the guest wrote to it */
	u64 apic_features;   /* of the SVSM's APIC protocol */
	bool snp;
	bool svsm;
	bool apic_protocol;  /* offered by the SVSM at the start */
	bool no_protocol_there; /* and not on the other vCPU */
	bool x2apic;         /* CPUID 1 ECX 21 */
	bool hpet;
	u32 vcpus;           /* of QEMU's fw_cfg; 1 if it is unknown */
	u32 physical_bits;   /* CPUID 80000008 EAX 7:0 */
};
extern struct platform platform;

enum need {
	NEED_NOTHING = 0,
	NEED_SVSM = 0x01,
	NEED_NO_PROTOCOL = 0x02, /* an SVSM without the APIC protocol */
	NEED_PROTOCOL = 0x04,    /* the APIC protocol */
	NEED_X2APIC = 0x08,
	NEED_HV_TIMER = 0x10,    /* the #HV timer event */
	NEED_SVSM_TIMER = 0x20,
	NEED_HPET = 0x40,
	NEED_OTHER_VCPU = 0x80,
	NEED_PROTOCOL_THERE = 0x100, /* the APIC protocol on the other vCPU, as far as other-vcpu/query-protocol has run */
};

void platform_find(void);
void platform_print(void); /* as notes of the TAP */
/* The reason why a point with these needs cannot run; NULL: it can. */
const char *platform_lacks(u32 needs);

#endif
