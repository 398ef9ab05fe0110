/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ap.h"
#include "apic_access.h"
#include "edu.h"
#include "guest.h"
#include "reach.h"
#include "request.h"

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

static void breakpoint_at(u64 linear)
{
	__asm__ volatile("mov %0, %%db0; mov %1, %%db7" : : "r"(linear), "r"(0x402ull));
	(void)cpuid(0, 0);
}

static void sleep_of_type(u32 type)
{
	io_out(0x604, 2, 0x2000); /* the machine goes on: nothing is there yet */
	pci_write(LPC, PMBASE, 0x601);
	pci_write(LPC, ACPI_CONTROL, 0x80);
	io_out(0x604, 2, 0x2000 | type << 10);
}

/* What was done under the window, another access after it, and the normal end have to be in the log. */
static void cover_the_log(void)
{
	apic_set_mode(APIC_BASE_EN);
	for (u64 base = 0x100000000; base < 0x140000000; base += 0x10000000) {
		pciexbar_write(base, 1);
		mmio_in(APIC_DEFAULT_BASE + APIC_SPIV, 4);
		pciexbar_write(0xB0000000, 0);
	}
	for (u64 bar = 0x100000000; bar < 0x110000000; bar += 0x100000) {
		pci_write(SHARED_MEMORY, 0x18, (u32)bar);
		pci_write(SHARED_MEMORY, 0x1C, (u32)(bar >> 32));
		pci_write(SHARED_MEMORY, 4, 2);
	}
	mmio_in(APIC_DEFAULT_BASE + APIC_SPIV, 4);
}

#define LOWER_VMPL 1
#define CODE_PAGE  (TEST_AREA + 0x30000)

/* A VMSA for VMPL1 at a page with these permissions. At CPL 0 it requests termination, at CPL 3 there is no stack for its #GP. */
static void make_vmpl1(u32 permissions, u8 cpl)
{
	static const u8 code[] = { 0xB9, 0x30, 0x01, 0x01, 0xC0, /* mov $SEV_MSR_GHCB, %ecx */
				   0xB8, 0x00, 0x51, 0x67, 0x00, /* mov $TERM_REQ, set 5, reason 67, %eax */
				   0x31, 0xD2, 0x0F, 0x30, 0xF3, 0x0F, 0x01, 0xD9 }; /* xor %edx, %edx; wrmsr; vmgexit */
	struct vmsa *vmsa = (struct vmsa *)AP_VMSA(0);

	make_private(CODE_PAGE);
	make_private(AP_VMSA(0));
	for (u32 i = 0; i < sizeof(code); i++)
		((volatile u8 *)CODE_PAGE)[i] = code[i];
	ap_fill_vmsa(vmsa, 0);
	vmsa->vmpl = LOWER_VMPL;
	vmsa->rip = CODE_PAGE;
	vmsa->cpl = cpl;
	if (cpl) {
		vmsa->cs.selector = SELECTOR_USER_CODE;
		vmsa->cs.attributes |= 0x60; /* DPL 3 */
		vmsa->ss.selector = SELECTOR_USER_DATA;
		vmsa->ss.attributes |= 0x60;
	}
	for (u64 page = SEC_MEMORY; page < SEC_MEMORY + SEC_SIZE; page += PAGE_SIZE)
		rmpadjust(page, SEV_PAGE_4K, LOWER_VMPL | SEV_PERM_ALL << SEV_RMPADJUST_PERM_SHIFT);
	rmpadjust(CODE_PAGE, SEV_PAGE_4K, LOWER_VMPL | (u64)permissions << SEV_RMPADJUST_PERM_SHIFT);
	rmpadjust(AP_VMSA(0), SEV_PAGE_4K, LOWER_VMPL | SEV_RMPADJUST_VMSA);
}

static void create_vmpl1(u64 operation)
{
	ghcb_set(GHCB_RAX, ap_features());
	nae(NAE_AP_CREATION, operation | LOWER_VMPL << NAE_AP_VMPL_SHIFT, AP_VMSA(0));
}

static void run_vmpl1(void)
{
	msr_protocol((u64)LOWER_VMPL << GHCB_MSR_RUN_VMPL_SHIFT | GHCB_MSR_RUN_VMPL_REQ);
}

static void execute_at_vmpl1(u32 permissions, u8 cpl)
{
	make_vmpl1(permissions, cpl);
	create_vmpl1(NAE_AP_CREATE);
	run_vmpl1();
}

/* Whether a run of VMPL1 comes before or after it must not matter. */
static void create_vmpl1_on_init(void)
{
	make_vmpl1(SEV_PERM_ALL, 0);
	run_vmpl1();
	create_vmpl1(NAE_AP_CREATE_ON_INIT);
}

static void terminate(void)
{
	msr_protocol(GHCB_MSR_TERM_REQ | 5 << GHCB_MSR_TERM_SET_SHIFT | 0x42 << GHCB_MSR_TERM_REASON_SHIFT);
}

static void end_normally(void)
{
	print("end\n");
	if (!sev())
		triple_fault();
	terminate();
}

static void end_by_ap(struct ap *ap)
{
	(void)ap;
	terminate();
}

/* The boot vCPU runs the VMSA of AP 2 when its SVSM has answered. */
static void replace_boot_vmsa(struct ap *ap)
{
	ghcb_page_set(AP_GHCB(ap->index), GHCB_RAX, ap_features());
	ap_nae(ap, NAE_AP_CREATION, NAE_AP_CREATE_ON_INIT | (u64)own_vmpl() << NAE_AP_VMPL_SHIFT, AP_VMSA(2));
}

static void call_with_another_vmsa(void)
{
	ap_start(1);
	ap_make_vmsa(2);
	aps[2].index = 2;
	ap_command(2, end_by_ap);
	ap_run(1, replace_boot_vmsa);
	svsm_call(SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_READ_REGISTER), X2(APIC_VERSION), 0);
}

static void print_number(const char *name, u64 value)
{
	print(name);
	print(": ");
	print_hex(value);
	print("\n");
}

/* Without #VC: of a guest with SEV only, or a plain one. */
static _Noreturn void print_sev(void)
{
	struct cpuid leaf = cpuid(SEV_CPUID_LEAF, 0);

	print_number("trap", TRY("rdmsr", OUT(), "c"(SEV_MSR_STATUS)));
	if (trap.vector == NO_TRAP)
		print_number("status", rdmsr(SEV_MSR_STATUS));
	print_number("write", TRY("wrmsr", OUT(), "c"(SEV_MSR_STATUS), "a"(1), "d"(0)));
	print_number("ghcb", TRY("rdmsr", OUT(), "c"(SEV_MSR_GHCB)));
	print_number("eax", leaf.eax);
	print_number("ebx", leaf.ebx);
	triple_fault();
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
	case END_GHCB_UNREGISTERED:
		msr_protocol(GHCB_PAGE | GHCB_MSR_UNREG_GPA_REQ);
		nae(NAE_HV_FEATURES, 0, 0);
		break;
	case END_SVSM_MEMORY:
		(void)*map_page(TEST_AREA + 0x10000, secrets()->svsm_base, true);
		break;
	case END_INSTRUCTION:
		__asm__ volatile("jmp *%0" : : "r"(APIC_DEFAULT_BASE));
		break;
	case END_STRING_IO:
		__asm__ volatile("insb" : : "d"(0xA00), "D"(TEST_AREA) : "memory");
		break;
	case END_INIT_UNDER_A_BAR:
		edu_setup();
		edu_begin_message(0, false, APIC_DELIVER_INIT << APIC_LVT_DELIVERY_SHIFT);
		pci_write(SHARED_MEMORY, 0x18, 0xFFF00000); /* BAR 2 of 64 bits: 32-bit ones may not end at 4 GiB */
		pci_write(SHARED_MEMORY, 0x1C, 0);
		pci_write(SHARED_MEMORY, 4, 2);
		delay_us(2000000);
		break;
	case END_INIT_MESSAGE:
		edu_setup();
		edu_begin_message(0, false, APIC_DELIVER_INIT << APIC_LVT_DELIVERY_SHIFT);
		delay_us(2000000);
		break;
	case END_SUSPEND:
		sleep_of_type(1);
		break;
	case END_EXECUTE_SUPERVISOR_0:
		execute_at_vmpl1(SEV_PERM_READ | SEV_PERM_EXECUTE_SUPERVISOR, 0);
		break;
	case END_EXECUTE_SUPERVISOR_3:
		execute_at_vmpl1(SEV_PERM_READ | SEV_PERM_EXECUTE_SUPERVISOR, 3);
		break;
	case END_EXECUTE_USER_0:
		execute_at_vmpl1(SEV_PERM_READ | SEV_PERM_EXECUTE_USER, 0);
		break;
	case END_EXECUTE_USER_3:
		execute_at_vmpl1(SEV_PERM_READ | SEV_PERM_EXECUTE_USER, 3);
		break;
	case END_RUN_CREATED_ON_INIT:
		create_vmpl1_on_init();
		run_vmpl1();
		break;
	case END_RUN_DESTROYED:
		create_vmpl1_on_init();
		create_vmpl1(NAE_AP_DESTROY);
		run_vmpl1();
		end_normally();
		break;
	case END_RESET:
		io_out(0xCF9, 1, 6);
		delay_us(2000000);
		break;
	case END_POWER_OFF:
		sleep_of_type(0);
		break;
	case END_COVER:
		cover_the_log();
		end_normally();
		break;
	case END_BREAKPOINT:
		breakpoint_at(0xFFFFFFFF80001000);
		end_normally();
		break;
	case END_REPORT:
		print_report();
		end_normally();
		break;
	case END_REQUEST_NOWHERE:
		request_setup();
		nae(NAE_GUEST_REQUEST, REQUEST_PAGE, 0x7000000000);
		break;
	case END_OTHER_VMSA_IN_A_CALL:
		call_with_another_vmsa();
		break;
	case END_SEV_STATUS:
		print_sev();
	default:
		end_normally();
	}
	print("still here\n");
	stop();
}
