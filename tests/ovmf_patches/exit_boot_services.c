/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A UEFI application that leaves boot services as an operating system does, and prints on the serial port the
 * state of the local APIC then. It is a PE image without relocations: position-independent code, no addresses in data.
 *
 * With REGISTER it registers itself for the SVSM APIC protocol before, like a boot loader that supports it, and uses
 * the APIC afterwards. Interrupts stay disabled: IPIs are read back from the IRR, and never taken.
 */
#include <stdint.h>

/* UEFI specification 2.10: the members of the tables that are used, by their offsets. */
#define SYSTEM_TABLE_BOOT_SERVICES        96 /* 4.3 */
#define BOOT_SERVICES_GET_MEMORY_MAP      56 /* 4.4 */
#define BOOT_SERVICES_EXIT_BOOT_SERVICES  232

/* AMD APM volume 2 and publications 56421 (GHCB) and 58019 (SVSM). */
#define MSR_GHCB        0xC0010130u
#define MSR_SEV_STATUS  0xC0010131u
#define MSR_SVSM_CAA    0xC001F000u
#define GHCB_MSR_RUN_VMPL 0x16u /* VMPL 0 in bits 39:32 */

#define MSR_X2APIC_ID       0x802u
#define MSR_X2APIC_TPR      0x808u
#define MSR_X2APIC_EOI      0x80Bu
#define MSR_X2APIC_IRR2     0x822u
#define MSR_X2APIC_ICR      0x830u
#define MSR_X2APIC_SELF_IPI 0x83Fu
#define ICR_INIT            (5u << 8)
#define ICR_SELF            (1u << 18)

#define SERIAL 0x3F8
#define PM1_CNT 0x604 /* ICH9 as OVMF sets it up: PMBASE 600 + 4; SLP_EN, S5 */
#define POWER_OFF 0x2000

typedef uint64_t(__attribute__((ms_abi)) * get_memory_map_fn)(uint64_t *, void *, uint64_t *, uint64_t *, uint32_t *);
typedef uint64_t(__attribute__((ms_abi)) * exit_boot_services_fn)(void *, uint64_t);

static uint64_t memory_map[4096];

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr) : "memory");
}

static void print(const char *text)
{
	while (*text)
		outb(SERIAL, (uint8_t)*text++);
}

static void print_value(const char *name, uint64_t value)
{
	int shift;

	print(name);
	outb(SERIAL, ' ');
	for (shift = 60; shift > 0 && !(value >> shift); shift -= 4)
		;
	for (; shift >= 0; shift -= 4)
		outb(SERIAL, (uint8_t)"0123456789ABCDEF"[value >> shift & 15]);
	outb(SERIAL, '\n');
}

#ifdef REGISTER
/* Call the SVSM with one argument; returns RAX. The firmware's GHCB page is left as it is. */
static uint64_t svsm_call(uint32_t protocol, uint32_t call, uint64_t rcx)
{
	volatile uint8_t *caa = (volatile uint8_t *)rdmsr(MSR_SVSM_CAA);
	uint64_t ghcb = rdmsr(MSR_GHCB);
	uint64_t rax = (uint64_t)protocol << 32 | call;
	uint64_t rdx = 0;

	wrmsr(MSR_GHCB, GHCB_MSR_RUN_VMPL);
	caa[0] = 1; /* call pending */
	__asm__ volatile("rep; vmmcall" : "+a"(rax), "+c"(rcx), "+d"(rdx) : : "r8", "r9", "memory");
	wrmsr(MSR_GHCB, ghcb);
	return caa[0] ? UINT64_MAX : rax;
}

static void use_the_apic(void)
{
	wrmsr(MSR_X2APIC_TPR, 0x30);
	print_value("TPR", rdmsr(MSR_X2APIC_TPR));
	wrmsr(MSR_X2APIC_SELF_IPI, 0x40);
	wrmsr(MSR_X2APIC_ICR, ICR_SELF | 0x41);
	print_value("IRR2", rdmsr(MSR_X2APIC_IRR2));
	/* INIT of a vCPU that is not there: the hypervisor's, not the SVSM's. */
	wrmsr(MSR_X2APIC_ICR, 0x77ull << 32 | ICR_INIT);
}
#endif

__attribute__((ms_abi, section(".text.entry"))) uint64_t entry(void *image, char *system_table)
{
	char *boot = *(char **)(system_table + SYSTEM_TABLE_BOOT_SERVICES);
	get_memory_map_fn get_memory_map = *(get_memory_map_fn *)(boot + BOOT_SERVICES_GET_MEMORY_MAP);
	exit_boot_services_fn exit_boot_services = *(exit_boot_services_fn *)(boot + BOOT_SERVICES_EXIT_BOOT_SERVICES);
	uint64_t status, key = 0, size, descriptor;
	uint32_t version;

	print_value("CAA", rdmsr(MSR_SVSM_CAA));
	print_value("SEV_STATUS before", rdmsr(MSR_SEV_STATUS));
#ifdef REGISTER
	__asm__ volatile("cli");
	print_value("registered", svsm_call(3, 1, 2));
	__asm__ volatile("sti");
#endif
	do {
		size = sizeof(memory_map);
		status = get_memory_map(&size, memory_map, &key, &descriptor, &version);
		if (!status)
			status = exit_boot_services(image, key);
	} while (status);
	__asm__ volatile("cli");
	print_value("SEV_STATUS after", rdmsr(MSR_SEV_STATUS));
	print_value("APIC ID", rdmsr(MSR_X2APIC_ID));
	wrmsr(MSR_X2APIC_EOI, 0);
#ifdef REGISTER
	use_the_apic();
#endif
	print("the end\n");
	outw(PM1_CNT, POWER_OFF);
	for (;;)
		__asm__ volatile("hlt");
}
