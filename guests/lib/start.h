/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a guest starts: the functions that start.S calls, what start.S found, and the pages that the launch prepared. */
#ifndef GUEST_START_H
#define GUEST_START_H

#include "layout.h"
#include "snp_secrets.h"
#include "svsm.h"
#include "types.h"

/* Each guest defines one of these with GUEST_HOOKS. */
struct guest_hooks {
	void (*main)(void);          /* 64-bit code on the boot vCPU; the vCPU halts when it returns */
	void (*before_paging)(void); /* 32-bit code, called before paging is on; NULL: none */
};
_Static_assert(offsetof(struct guest_hooks, before_paging) == 8, "start.S");
#define GUEST_HOOKS static const struct guest_hooks hooks __attribute__((used, section(".guest_hooks")))

struct start_results {
	u32 eax, ebx; /* of CPUID 8000001F */
	u32 eip;      /* of that instruction */
	u32 cbit;     /* 0: no SEV */
	u32 count;    /* of #VC; the fields below are what the handler saw at the last one */
	u32 error, vc_eip, cs, eflags, esp;
};
#define RESULT_AT(field, address) \
	_Static_assert(START_RESULTS + offsetof(struct start_results, field) == (address), #field)
RESULT_AT(eax, RESULT_EAX);
RESULT_AT(ebx, RESULT_EBX);
RESULT_AT(eip, RESULT_EIP);
RESULT_AT(cbit, RESULT_CBIT);
RESULT_AT(count, RESULT_COUNT);
RESULT_AT(error, RESULT_ERROR);
RESULT_AT(vc_eip, RESULT_VC_EIP);
RESULT_AT(cs, RESULT_CS);
RESULT_AT(eflags, RESULT_EFLAGS);
RESULT_AT(esp, RESULT_ESP);

static inline const volatile struct start_results *at_start(void)
{
	return (const volatile struct start_results *)START_RESULTS;
}

/* Whether this is an SEV guest. Another one makes port, MMIO and MSR accesses itself. */
static inline bool sev(void) { return at_start()->cbit; }
static inline u64 c_bit(void) { return sev() ? BIT(at_start()->cbit) : 0; }

/* The secrets page shows whether an SVSM runs at VMPL0, and where the first calling area is (58019, section 3). */
static inline const volatile struct snp_secrets *secrets(void) { return (const volatile struct snp_secrets *)SECRETS_PAGE; }
static inline bool has_svsm(void) { return sev() && secrets()->svsm_size; }
static inline u8 own_vmpl(void) { return has_svsm() ? secrets()->svsm_guest_vmpl : 0; }
static inline volatile u8 *calling_area(void) { return (volatile u8 *)secrets()->svsm_caa; }

#endif
