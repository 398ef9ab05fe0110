/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run_vmpl.h"

#include "ghcb.h"
#include "sev.h"

/* The window: the flag was clear, and the request was not made yet. A #HV in it continues at the cancel label. */
extern const u8 run_vmpl_window[], run_vmpl_window_end[], run_vmpl_cancel[];

/* MSR C0010130 after the VMGEXIT; 0, which is not an answer, if a signal was there before. */
static __attribute__((noinline, noclone)) u64 exchange_unless_signalled(const u8 *flags, u64 request)
{
	u32 low = (u32)request, high = (u32)(request >> 32);

	asm volatile("testb %[signalled], %[flags]\n\t"
		     "run_vmpl_window: jnz run_vmpl_cancel\n\t"
		     "wrmsr\n\t"
		     "rep; vmmcall\n\t"
		     "run_vmpl_window_end: rdmsr\n\t"
		     "jmp 1f\n\t"
		     "run_vmpl_cancel: xorl %%eax, %%eax\n\t"
		     "xorl %%edx, %%edx\n\t"
		     "1:"
		     : "+a"(low), "+d"(high)
		     : "c"(SEV_MSR_GHCB), [flags] "m"(*(const volatile u8 *)flags),
		       [signalled] "i"(GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL)
		     : "memory", "cc");
	return (u64)high << 32 | low;
}

u32 run_vmpl(struct vcpu *vcpu, u32 vmpl)
{
	static const u8 never;
	u64 response = exchange_unless_signalled(vcpu->doorbell ? vcpu->doorbell + GHCB_DOORBELL_FLAGS : &never,
						 ((u64)vmpl << GHCB_MSR_RUN_VMPL_SHIFT) | GHCB_MSR_RUN_VMPL_REQ);

	if (response == 0)
		return RUN_VMPL_CANCELLED;
	if ((response & GHCB_MSR_INFO_MASK) != GHCB_MSR_RUN_VMPL_RESP)
		return RUN_VMPL_MALFORMED;
	return (u32)(response >> GHCB_MSR_ERROR_SHIFT);
}

u64 run_vmpl_after_signal(u64 rip)
{
	return rip >= (u64)run_vmpl_window && rip < (u64)run_vmpl_window_end ? (u64)run_vmpl_cancel : rip;
}
