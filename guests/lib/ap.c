/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ap.h"
#include "apic_access.h"
#include "clock.h"
#include "start.h"

#define PATIENCE_US    1000000
#define PATIENCE_TURNS 20000
#define STOPPED_TURNS  500

struct ap aps[AP_MAX];
u8 ap_stacks[AP_MAX * AP_STACK_SIZE] __attribute__((aligned(AP_STACK_SIZE)));

extern const u8 ap_trampoline[], ap_trampoline_end[], ap_entry[];
struct __attribute__((packed)) ap_table {
	u16 limit;
	u64 base;
} ap_gdtr, ap_idtr; /* the boot vCPU's */

_Noreturn void ap_main(u64 index);

u64 ap_self(void)
{
	u64 here = (u64)__builtin_frame_address(0) - (u64)ap_stacks;

	return here < sizeof(ap_stacks) ? here / AP_STACK_SIZE : 0;
}

volatile u8 *own_calling_area(void)
{
	u64 index = ap_self();

	return index ? (volatile u8 *)AP_CAA(index) : calling_area();
}

static void set(struct ap *ap, u32 offset, u64 value) { ghcb_page_set(AP_GHCB(ap->index), offset, value); }
static u32 get(struct ap *ap, u32 offset) { return (u32)ghcb_page_get(AP_GHCB(ap->index), offset); }

u64 ap_nae(struct ap *ap, u64 code, u64 info1, u64 info2)
{
	*(volatile a16 *)(AP_GHCB(ap->index) + GHCB_PROTOCOL_VERSION) = GHCB_VERSION_SNP;
	return ghcb_page_nae(AP_GHCB(ap->index), code, info1, info2);
}

u64 ap_msr_in(struct ap *ap, u32 msr)
{
	if (!sev())
		return rdmsr(msr);
	set(ap, GHCB_RCX, msr);
	if (ap_nae(ap, NAE_MSR, NAE_MSR_READ, 0) != NAE_RESULT_OK)
		return ~0ull;
	return get(ap, GHCB_RAX) | (u64)get(ap, GHCB_RDX) << 32;
}

bool ap_msr_out(struct ap *ap, u32 msr, u64 value)
{
	if (!sev()) {
		wrmsr(msr, value);
		return true;
	}
	set(ap, GHCB_RCX, msr);
	set(ap, GHCB_RAX, (u32)value);
	set(ap, GHCB_RDX, value >> 32);
	return ap_nae(ap, NAE_MSR, NAE_MSR_WRITE, 0) == NAE_RESULT_OK;
}

struct cpuid ap_cpuid(struct ap *ap, u32 leaf)
{
	if (!sev())
		return cpuid(leaf, 0);
	set(ap, GHCB_RAX, leaf);
	set(ap, GHCB_RCX, 0);
	ap_nae(ap, NAE_CPUID, 0, 0);
	return (struct cpuid){ get(ap, GHCB_RAX), get(ap, GHCB_RBX), get(ap, GHCB_RCX), get(ap, GHCB_RDX) };
}

struct svsm_reply ap_svsm_call(struct ap *ap, u64 rax, u64 rcx, u64 rdx)
{
	volatile u8 *pending = (volatile u8 *)AP_CAA(ap->index) + SVSM_CAA_CALL_PENDING;

	*pending = 1;
	wrmsr(SEV_MSR_GHCB, GHCB_MSR_RUN_VMPL_REQ);
	__asm__ volatile("rep; vmmcall" : "+a"(rax), "+c"(rcx), "+d"(rdx) : : "memory");
	return (struct svsm_reply){ .rax = *pending ? SVSM_NOT_ANSWERED : rax, .rcx = rcx, .rdx = rdx };
}

/* Called by ap_entry, on the AP's own stack, with interrupts off. */
void ap_main(u64 index)
{
	struct ap *ap = &aps[index];

	__asm__ volatile("lgdt %0; lidt %1" : : "m"(ap_gdtr), "m"(ap_idtr));
	if (sev())
		msr_protocol(AP_GHCB(index) | GHCB_MSR_REG_GPA_REQ);
	ap->started++;
	for (;;) {
		void (*command)(struct ap *ap) = ap->command;

		ap->turns++;
		if (command) {
			command(ap);
			ap->command = NULL;
		}
		pause();
	}
}

static void note_tables(void) { __asm__ volatile("sgdt %0; sidt %1" : "=m"(ap_gdtr), "=m"(ap_idtr)); }

u64 ap_features(void) { return rdmsr(SEV_MSR_STATUS) >> SEV_FEATURES_STATUS_SHIFT; }

/* The state of 64-bit code at ap_entry, where an NMI can arrive already. */
void ap_fill_vmsa(struct vmsa *vmsa, u64 index)
{
	const struct vmsa_segment data = { .selector = SELECTOR_DATA, .attributes = 0xC93, .limit = ~0u };
	u64 cr0, cr3, cr4;

	note_tables();
	__asm__ volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2" : "=r"(cr0), "=r"(cr3), "=r"(cr4));
	*vmsa = (struct vmsa){
		.es = data, .ss = data, .ds = data, .fs = data, .gs = data,
		.cs = { .selector = SELECTOR_CODE, .attributes = 0xA9B, .limit = ~0u },
		.tr = { .attributes = 0x8B, .limit = 0xFFFF },
		.ldtr = { .attributes = 0x82, .limit = 0xFFFF },
		.gdtr = { .limit = ap_gdtr.limit, .base = ap_gdtr.base },
		.idtr = { .limit = ap_idtr.limit, .base = ap_idtr.base },
		.rsp = (u64)ap_stacks + (index + 1) * AP_STACK_SIZE,
		.vmpl = own_vmpl(), .efer = VMSA_EFER_SVME | 0x500, .cr0 = cr0, .cr3 = cr3, .cr4 = cr4,
		.dr6 = 0xFFFF0FF0, .dr7 = 0x400, .rflags = 2, .rip = (u64)ap_entry, .rdi = index,
		.g_pat = 0x0007040600070406, .sev_features = ap_features(), .xcr0 = 1, .mxcsr = 0x1F80, .x87_fcw = 0x37F,
	};
	if (vmsa->sev_features & SEV_FEATURES_ALTERNATE_INJECTION)
		vmsa->vintr_ctrl = VMSA_VINTR_GIF;
}

bool ap_make_vmsa(u64 index)
{
	map_page(AP_GHCB(index), AP_GHCB(index), false);
	make_shared(AP_GHCB(index));
	make_private(AP_VMSA(index));
	make_private(AP_CAA(index));
	ap_fill_vmsa((struct vmsa *)AP_VMSA(index), index);
	*(volatile u64 *)AP_CAA(index) = 0;
	if (has_svsm())
		return svsm_request(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_CREATE_VCPU), AP_VMSA(index), AP_CAA(index),
				    index).rax == SVSM_SUCCESS;
	return rmpadjust(AP_VMSA(index), SEV_PAGE_4K, 1 | SEV_RMPADJUST_VMSA) == SEV_SUCCESS;
}

bool ap_unmake_vmsa(u64 index)
{
	if (has_svsm())
		return svsm_call(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_DELETE_VCPU), AP_VMSA(index), 0) == SVSM_SUCCESS;
	return rmpadjust(AP_VMSA(index), SEV_PAGE_4K, 1) == SEV_SUCCESS;
}

u64 ap_creation(u64 operation, u64 index)
{
	ghcb_set(GHCB_RAX, ap_features());
	return nae(NAE_AP_CREATION, operation | (u64)own_vmpl() << NAE_AP_VMPL_SHIFT | index << NAE_AP_APIC_ID_SHIFT, AP_VMSA(index));
}

static void init_sipi(u64 index)
{
	for (u64 i = 0; i < (u64)(ap_trampoline_end - ap_trampoline); i++)
		((volatile u8 *)AP_START)[i] = ap_trampoline[i];
	apic_write(APIC_ICR2, index << APIC_ID_SHIFT);
	apic_write(APIC_ICR, APIC_DELIVER_INIT << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT);
	apic_write(APIC_ICR2, index << APIC_ID_SHIFT);
	apic_write(APIC_ICR, APIC_DELIVER_STARTUP << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT | AP_START >> 12);
}

/*
 * A timeout in turns and in time: all vCPUs share one processor, each PAUSE switches to another one, and the length of a
 * turn depends on the machine.
 */
static bool goes_on(u64 *turns, u64 least, u64 end) { return (*turns)++ < least || rdtsc() < end; }

static bool comes_to(volatile u64 *counter, u64 target)
{
	u64 end = rdtsc() + clock_ticks(PATIENCE_US), turns = 0;

	while (*counter < target && goes_on(&turns, PATIENCE_TURNS, end))
		pause();
	return *counter >= target;
}

bool ap_start(u64 index)
{
	u64 target = aps[index].started + 1;

	aps[index].index = index;
	aps[index].command = NULL;
	if (!sev()) {
		note_tables();
		apic_set_mode(APIC_BASE_EN);
		init_sipi(index);
	} else if (!ap_make_vmsa(index) || ap_creation(NAE_AP_CREATE, index) != NAE_RESULT_OK) {
		return false;
	}
	return comes_to(&aps[index].started, target);
}

bool ap_start_others(u64 vcpus)
{
	for (u64 i = 1; i < vcpus; i++) {
		if (!aps[i].started && !ap_start(i))
			return false;
	}
	return true;
}

void ap_command(u64 index, void (*command)(struct ap *ap)) { aps[index].command = command; }

bool ap_wait(u64 index)
{
	u64 end = rdtsc() + clock_ticks(PATIENCE_US), turns = 0;

	while (aps[index].command && goes_on(&turns, PATIENCE_TURNS, end))
		pause();
	return !aps[index].command;
}

bool ap_run(u64 index, void (*command)(struct ap *ap))
{
	ap_command(index, command);
	return ap_wait(index);
}

bool ap_is_running(u64 index)
{
	u64 before = aps[index].turns, turns = 0;

	while (aps[index].turns == before && goes_on(&turns, STOPPED_TURNS, 0))
		pause();
	return aps[index].turns != before;
}
