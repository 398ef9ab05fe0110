/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the #HV doorbell page (harness/emulator/hypervisor/doorbell.c): one command a line, numbers in hexadecimal,
 * one line of numbers as the answer. See tests/emulator/test_doorbell.py for the commands.
 */
#include "doorbell.h"
#include "driver.h"
#include "ipi.h"
#include "memory.h"
#include "startup.h"
#include "vectors.h"

#define PAGE_GPA        0x10000ull

static struct hypervisor hv;
static struct vcpu *const first = &hv.vcpu[0];
static u64 event; /* EVENTINJ of VMPL0's next entry */
static u8 page[PAGE_SIZE];
static bool shared = true;

/* Guest memory is one page. */
u8 *memory_shared(struct hypervisor *of, u64 gpa, u64 size)
{
	return of == &hv && shared && gpa == PAGE_GPA && size == PAGE_SIZE ? page : NULL;
}

/* The door. */
bool hw_event_pending(const struct hw_cpu *cpu) { (void)cpu; return event & SVM_EVENT_VALID; }
void hw_inject(struct hw_cpu *cpu, u64 value) { (void)cpu; event = value; }

/* ipi.c's other ways to reach a vCPU: none of them is used here. */
void startup_init(struct vcpu *of) { (void)of; abort(); }
void startup_sipi(struct vcpu *of, u8 vector) { (void)of; (void)vector; abort(); }

static void reset(void)
{
	memset(hv.vcpu, 0, sizeof(hv.vcpu));
	event = 0;
	memset(page, 0, sizeof(page));
	shared = true;
	hv.vcpus = HW_CPUS;
	for (u32 i = 0; i < HW_CPUS; i++) {
		const struct vapic_config config = { .apic_id = i, .bsp = !i, .x2apic = true, .phys_bits = 48 };

		hv.vcpu[i].hv = &hv;
		hv.vcpu[i].index = i;
		hv.vcpu[i].guest_vmpl = 2;
		hv.vcpu[i].doorbell.gpa = NO_GPA;
		vapic_reset(&hv.vcpu[i].apic[0], &config);
	}
}

/* A bit for each vCPU that `vector` waits for. */
static u64 waiting(u8 vector)
{
	u64 found = 0;

	for (u32 i = 0; i < HW_CPUS; i++) {
		if (vector_test(hv.vcpu[i].doorbell.own, vector))
			found |= BIT(i);
	}
	return found;
}

static u64 command(const char *name, const u64 *a)
{
	if (!strcmp(name, "set"))
		return doorbell_set(first, a[0]);
	if (!strcmp(name, "post"))
		return doorbell_post(first, (u32)a[0], (u8)a[1], a[2]);
	if (!strcmp(name, "nmi"))
		return (doorbell_post_nmi(first, (u32)a[0]), 0);
	if (!strcmp(name, "ipi"))
		return ipi_hv(first, a[0]);
	if (!strcmp(name, "waiting"))
		return waiting((u8)a[0]);
	if (!strcmp(name, "flush"))
		return (doorbell_flush(first), 0);
	if (!strcmp(name, "entry")) { /* the vector that VMPL0 is entered with, and its kind */
		event = a[0];
		doorbell_before_entry(first);
		return event;
	}
	if (!strcmp(name, "injection"))
		return first->doorbell.injection_vector = (u8)a[0];
	if (!strcmp(name, "unshare")) {
		shared = false;
		return ++hv.generation;
	}
	if (!strcmp(name, "get"))
		return *(u32 *)(page + (a[0] & (PAGE_SIZE - 4)));
	if (!strcmp(name, "put")) {
		*(u32 *)(page + (a[0] & (PAGE_SIZE - 4))) = (u32)a[1];
		return 0;
	}
	reset();
	return 0;
}

static void answered(const char *name, const u64 *a)
{
	driver_answer(command(name, a));
}

int main(void)
{
	return driver_serve(answered);
}
