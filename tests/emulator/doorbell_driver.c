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

#define COMMAND_SECONDS 10
#define ARGUMENTS       4
#define PAGE_GPA        0x10000ull

static struct host host;
static struct vcpu vcpu;
static struct vmcb vmcb_page;
static u8 page[PAGE_SIZE];
static bool shared = true;

/* Guest memory is one page. */
u8 *memory_shared(struct host *of, u64 gpa, u64 size)
{
	return of == &host && shared && gpa == PAGE_GPA && size == PAGE_SIZE ? page : NULL;
}

static void reset(void)
{
	const struct vapic_config config = { .bsp = true, .x2apic = true, .phys_bits = 48 };

	memset(&vcpu, 0, sizeof(vcpu));
	memset(&vmcb_page, 0, sizeof(vmcb_page));
	memset(page, 0, sizeof(page));
	shared = true;
	vcpu.host = &host;
	vcpu.guest_vmpl = 2;
	vcpu.doorbell.gpa = NO_GPA;
	vcpu.state[0].vmcb = &vmcb_page;
	vapic_reset(&vcpu.apic[0], &config);
}

static u64 command(const char *name, const u64 *a)
{
	if (!strcmp(name, "set"))
		return doorbell_set(&vcpu, a[0]);
	if (!strcmp(name, "post"))
		return doorbell_post(&vcpu, (u32)a[0], (u8)a[1], a[2]);
	if (!strcmp(name, "nmi"))
		return (doorbell_post_nmi(&vcpu, (u32)a[0]), 0);
	if (!strcmp(name, "ipi"))
		return doorbell_ipi(&vcpu, a[0]);
	if (!strcmp(name, "flush"))
		return (doorbell_flush(&vcpu), 0);
	if (!strcmp(name, "entry")) { /* the vector that VMPL0 is entered with, and its kind */
		vmcb_page.control.event_inj = a[0];
		doorbell_before_entry(&vcpu);
		return vmcb_page.control.event_inj;
	}
	if (!strcmp(name, "injection"))
		return vcpu.doorbell.injection_vector = (u8)a[0];
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
