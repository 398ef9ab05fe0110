/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the #HV doorbell page (harness/emulator/host/doorbell.c): one command a line, numbers in hexadecimal,
 * one line of numbers as the answer. See tests/emulator/test_doorbell.py for the commands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ghcb.h"
#include "host.h"
#include "vectors.h"

#define COMMAND_SECONDS 120
#define ARGUMENTS       4
#define PAGE_GPA        0x10000ull

static struct host host;
static struct vcpu *const first = &host.vcpu[0];
static struct vmcb vmcb_page;
static u8 page[PAGE_SIZE];
static bool shared = true;

/* Guest memory is one page. */
u8 *memory_shared(struct host *of, u64 gpa, u64 size)
{
	return of == &host && shared && gpa == PAGE_GPA && size == PAGE_SIZE ? page : NULL;
}

/* ipi.c's other ways to reach a vCPU: none of them is used here. */
void startup_init(struct vcpu *of) { (void)of; abort(); }
void startup_sipi(struct vcpu *of, u8 vector) { (void)of; (void)vector; abort(); }
void apic_post(struct vcpu *of, struct vapic *apic, u8 vector, bool level, enum record_irq_source source)
{
	(void)of; (void)apic; (void)vector; (void)level; (void)source;
	abort();
}

static void reset(void)
{
	memset(host.vcpu, 0, sizeof(host.vcpu));
	memset(&vmcb_page, 0, sizeof(vmcb_page));
	memset(page, 0, sizeof(page));
	shared = true;
	host.vcpus = HOST_MAX_VCPUS;
	for (u32 i = 0; i < HOST_MAX_VCPUS; i++) {
		const struct vapic_config config = { .apic_id = i, .bsp = !i, .x2apic = true, .phys_bits = 48 };

		host.vcpu[i].host = &host;
		host.vcpu[i].index = i;
		host.vcpu[i].guest_vmpl = 2;
		host.vcpu[i].doorbell.gpa = NO_GPA;
		vapic_reset(&host.vcpu[i].apic[0], &config);
	}
	first->state[0].vmcb = &vmcb_page;
}

/* A bit for each vCPU that `vector` waits for. */
static u64 waiting(u8 vector)
{
	u64 found = 0;

	for (u32 i = 0; i < HOST_MAX_VCPUS; i++) {
		if (vector_test(host.vcpu[i].doorbell.own, vector))
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
		vmcb_page.control.event_inj = a[0];
		doorbell_before_entry(first);
		return vmcb_page.control.event_inj;
	}
	if (!strcmp(name, "injection"))
		return first->doorbell.injection_vector = (u8)a[0];
	if (!strcmp(name, "unshare")) {
		shared = false;
		return ++host.rmp_generation;
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

int main(void)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		char *word = strtok(line, " \n");
		u64 arguments[ARGUMENTS] = { 0 };
		char *argument;

		alarm(COMMAND_SECONDS);
		if (!word)
			return 2;
		for (u32 i = 0; i < ARGUMENTS && (argument = strtok(NULL, " \n")); i++)
			arguments[i] = strtoull(argument, NULL, 16);
		printf("%llx\n", (unsigned long long)command(word, arguments));
		fflush(stdout);
		alarm(0);
	}
	return 0;
}
