/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"
#include "hpet.h"

static _Noreturn void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void vmgexit_at(u64 gpa)
{
	wrmsr(SEV_MSR_GHCB, gpa);
	vmgexit();
}

static void ioapic_deliver(u32 mode)
{
	hpet_route(mode << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	delay_us(2000000);
}

_Noreturn void end_run(void)
{
	const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = { 0, 0 };

	switch (parameters->end) {
	case END_TRIPLE_FAULT:
		triple_fault();
	case END_TERMINATE:
		msr_protocol(GHCB_MSR_TERM_REQ | 1 << GHCB_MSR_TERM_REASON_SHIFT);
		break;
	case END_TERMINATE_NAE:
		nae(NAE_TERMINATE, 3, 4);
		break;
	case END_RESET_HOLD:
		msr_protocol(GHCB_MSR_AP_RESET_HOLD_REQ);
		break;
	case END_RESET_HOLD_NAE:
		nae(NAE_AP_RESET_HOLD, 0, 0);
		break;
	case END_UNSUPPORTED:
		nae(NAE_UNSUPPORTED, 0x7B, 0);
		break;
	case END_NO_IDT:
		__asm__ volatile("lidt %0; cpuid" : : "m"(nothing), "a"(0) : "rbx", "rcx", "rdx");
		break;
	case END_NO_STACK:
		__asm__ volatile("mov %0, %%rsp; xor %%eax, %%eax; cpuid" : : "r"(0x8000000000));
		break;
	case END_PRIVATE_GHCB:
		vmgexit_at(CODE);
		break;
	case END_GHCB_NOWHERE:
		vmgexit_at(0x7000000000);
		break;
	case END_SVSM_MEMORY:
		(void)*map_page(TEST_AREA + 0x10000, *(volatile u64 *)(SECRETS_PAGE + SVSM_SECRETS_BASE), true);
		break;
	case END_INSTRUCTION:
		__asm__ volatile("movups (%0), %%xmm0" : : "r"(APIC_DEFAULT_BASE));
		break;
	case END_STRING_IO:
		__asm__ volatile("insb" : : "d"(0xA00), "D"(TEST_AREA) : "memory");
		break;
	case END_INIT:
		ioapic_deliver(APIC_DELIVER_INIT);
		break;
	case END_SMI:
		ioapic_deliver(APIC_DELIVER_SMI);
		break;
	default:
		print("end\n");
		if (!sev())
			triple_fault();
		msr_protocol(GHCB_MSR_TERM_REQ | 5 << GHCB_MSR_TERM_SET_SHIFT | 0x42 << GHCB_MSR_TERM_REASON_SHIFT);
	}
	print("still here\n");
	stop();
}
