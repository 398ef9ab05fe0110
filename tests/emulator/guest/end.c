/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ways to end a run: each has to leave a record that explains it, which test_ends.py looks for. */
#include "guest.h"
#include "hpet.h"

/* build.py has the same numbers. */
enum ending {
	END_NORMAL = 0,
	END_TRIPLE_FAULT = 1,
	END_TERMINATE = 2,          /* MSR protocol */
	END_TERMINATE_NAE = 3,
	END_RESET_HOLD = 4,         /* MSR protocol */
	END_RESET_HOLD_NAE = 5,
	END_UNSUPPORTED = 6,        /* NAE 8000FFFF */
	END_NO_IDT = 7,             /* #VC without a gate */
	END_NO_STACK = 8,           /* #VC with RSP at an address that is not mapped */
	END_PRIVATE_GHCB = 9,       /* VMGEXIT with a GHCB that is not shared */
	END_PRIVATE_MMIO = 10,      /* without paging: see start.S */
	END_SVSM_MEMORY = 11,       /* a VMPL2 that reads its own VMSA's page */
	END_INSTRUCTION = 12,       /* a plain guest's SSE load from the APIC page */
	END_STRING_IO = 13,         /* a plain guest's INS from a hidden port */
	END_GHCB_NOWHERE = 14,      /* VMGEXIT with a GHCB where there is no memory */
	END_INIT = 15,              /* the I/O APIC sends INIT to the host's own CPU */
	END_SMI = 16,               /* and SMI */
};

static _Noreturn void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static _Noreturn void triple_fault(void)
{
	const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" : : "m"(nothing));
	stop();
}

static void vmgexit_at(u64 gpa)
{
	wrmsr(SEV_MSR_GHCB, gpa);
	__asm__ volatile("rep; vmmcall" : : : "memory");
}

/* A level the line has already: the I/O APIC delivers when the entry is written. */
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
