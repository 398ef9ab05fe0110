/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the reference SVSM's protocols as an ordinary program, on a model of guest memory and RMP
 * (hardware.h). Reads one command a line, numbers in hexadecimal, and answers each with one line;
 * driver.py is the other side.
 *
 *   boot BASE SIZE LOW HIGH VMPL VCPUS FLAGS [GPA SIZE]...   a machine anew: "ok" or "refused"
 *   online VCPU                        its request loop runs
 *   page GPA COUNT STATE               RMP of pages: s shared, u unassigned, i assigned, v validated, V validated 2 MiB
 *   grant GPA VMPL PERMISSIONS         permissions of a page
 *   busy GPA                           another vCPU is in this VMSA: RMPADJUST answers FAIL_INUSE
 *   rmp GPA                            "STATE PERMISSIONS1 PERMISSIONS2 PERMISSIONS3 VMSA"
 *   poke GPA VALUE, peek GPA           memory, without a check of the RMP
 *   vmsa VCPU GPA CAA                  launch VMSA of a vCPU
 *   call VCPU PROTOCOL CALL RCX RDX R8 FEATURES    "RAX RCX RDX R8"
 *   vcpu VCPU                          "VMSA CAA"
 *   guest GPA SIZE                     memory_is_guest(): "0" or "1"
 *   reset VMPL FEATURES SIGNATURE      a VMSA after reset, 4096 bytes
 *   format NUMBER TEXT                 format_text() of TEXT with one 64-bit argument
 * and those of driver_alternate.c.
 */
#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "hardware.h"
#include "protocol.h"
#include "sev.h"
#include "vmsa_reset.h"

#define RANGES_MAX 48
#define PAGES_IN_2M 512

struct page {
	char state;
	u8 permissions[4];
	bool vmsa;
	bool busy;
};

struct range {
	u64 gpa;
	u64 pages;
	u8 *data;
	struct page *page;
};

struct vcpu_area vcpu_areas[SVSM_VCPUS_MAX];
static struct svsm svsm;
static struct range ranges[RANGES_MAX];
static u32 range_count;

static void add_range(u64 gpa, u64 size)
{
	struct range *range = &ranges[range_count];

	if (size == 0 || range_count == RANGES_MAX)
		return;
	*range = (struct range){ .gpa = gpa, .pages = size / PAGE_SIZE };
	range->data = calloc(range->pages, PAGE_SIZE);
	range->page = calloc(range->pages, sizeof(struct page));
	if (!range->data || !range->page)
		abort();
	for (u64 i = 0; i < range->pages; i++)
		range->page[i].state = 'v';
	range_count++;
}

static void forget_ranges(void)
{
	while (range_count) {
		range_count--;
		free(ranges[range_count].data);
		free(ranges[range_count].page);
	}
}

static struct range *find_range(u64 gpa)
{
	for (u32 i = 0; i < range_count; i++)
		if (gpa >= ranges[i].gpa && (gpa - ranges[i].gpa) / PAGE_SIZE < ranges[i].pages)
			return &ranges[i];
	return NULL;
}

static struct page *find_page(u64 gpa)
{
	struct range *range = find_range(gpa);

	return range ? &range->page[(gpa - range->gpa) / PAGE_SIZE] : NULL;
}

static bool is_validated(const struct page *page)
{
	return page && (page->state == 'v' || page->state == 'V');
}

/* A VMPL0 access of the private view: NULL where it would raise #VC or #NPF. */
static u8 *access_page(u64 gpa)
{
	struct range *range = find_range(gpa);

	return is_validated(find_page(gpa)) ? range->data + (gpa - range->gpa) : NULL;
}

bool guest_read64(u64 gpa, u64 *value)
{
	u8 *data = access_page(gpa);

	*value = 0;
	if (data)
		memcpy(value, data, sizeof(*value));
	return data;
}

static bool write_guest(u64 gpa, const void *value, size_t size)
{
	u8 *data = access_page(gpa);

	if (data)
		memcpy(data, value, size);
	return data;
}

bool guest_write64(u64 gpa, u64 value)
{
	return write_guest(gpa, &value, sizeof(value));
}

bool guest_write16(u64 gpa, u16 value)
{
	return write_guest(gpa, &value, sizeof(value));
}

bool guest_write8(u64 gpa, u8 value)
{
	return write_guest(gpa, &value, sizeof(value));
}

bool guest_zero(u64 gpa, u64 size)
{
	for (u64 done = 0; done < size; done += 8)
		if (!guest_write64(gpa + done, 0))
			return false;
	return true;
}

struct vmsa *guest_vmsa(u64 gpa)
{
	struct range *range = find_range(gpa);

	if (!range)
		abort();
	return (struct vmsa *)(range->data + (gpa - range->gpa));
}

/* PVALIDATE and RMPADJUST: a 4 KiB operation splits a 2 MiB page (the hypervisor's PSMASH); the other way round fails. */
static bool size_fits(u64 gpa, enum page_size size)
{
	for (u64 i = 0; i < page_bytes(size) / PAGE_SIZE; i++) {
		struct page *page = find_page(gpa + i * PAGE_SIZE);

		if (!page || (size == PAGE_2M && page->state != 'V' && page->state != 'U'))
			return false;
	}
	for (u64 i = 0; size == PAGE_4K && i < PAGES_IN_2M; i++) {
		struct page *page = find_page((gpa & ~(PAGE_SIZE_2M - 1)) + i * PAGE_SIZE);

		if (page && page->state == 'V')
			page->state = 'v';
		if (page && page->state == 'U')
			page->state = 'i';
	}
	return true;
}

u32 hardware_pvalidate(u64 gpa, enum page_size size, bool validate)
{
	struct page *first = find_page(gpa);
	char after = size == PAGE_2M ? (validate ? 'V' : 'U') : (validate ? 'v' : 'i');
	bool changed = false;

	if (!first || first->state == 's' || first->state == 'u')
		return SEV_FAIL_INPUT;
	if (!size_fits(gpa, size))
		return SEV_FAIL_SIZEMISMATCH;
	for (u64 i = 0; i < page_bytes(size) / PAGE_SIZE; i++) {
		struct page *page = find_page(gpa + i * PAGE_SIZE);

		changed |= page->state != after;
		page->state = after;
	}
	return changed ? SEV_SUCCESS : SEV_FAIL_UNCHANGED;
}

u32 hardware_rmpadjust(u64 gpa, enum page_size size, u64 attributes)
{
	u32 vmpl = attributes & SEV_RMPADJUST_VMPL_MASK;

	if (vmpl == 0 || vmpl > 3)
		abort(); /* VMPL0's own permissions: never the SVSM's business */
	if (!is_validated(find_page(gpa)))
		return SEV_FAIL_INPUT;
	if (!size_fits(gpa, size))
		return SEV_FAIL_SIZEMISMATCH;
	for (u64 i = 0; i < page_bytes(size) / PAGE_SIZE; i++) {
		struct page *page = find_page(gpa + i * PAGE_SIZE);

		if (page->busy)
			return SEV_FAIL_INUSE;
		page->permissions[vmpl] = (u8)(attributes >> SEV_RMPADJUST_PERM_SHIFT);
		page->vmsa = attributes & SEV_RMPADJUST_VMSA;
	}
	return SEV_SUCCESS;
}

u32 hardware_rmp_operations(const struct sev_rmp_operation *operations, u32 count, u32 *done)
{
	for (*done = 0; *done < count; ++*done) {
		const struct sev_rmp_operation *operation = &operations[*done];
		u64 gpa = operation->page & ~(PAGE_SIZE - 1);
		enum page_size size = operation->page & SEV_RMP_OPERATION_2M ? PAGE_2M : PAGE_4K;
		u32 result = operation->page & SEV_RMP_OPERATION_RMPADJUST ? hardware_rmpadjust(gpa, size, operation->rdx)
									    : hardware_pvalidate(gpa, size, operation->rdx);

		if (result == SEV_FAIL_UNCHANGED && (operation->page & SEV_RMP_OPERATION_IGNORE_CF))
			continue;
		if (result != SEV_SUCCESS)
			return result;
	}
	return SEV_SUCCESS;
}

u64 number(void)
{
	const char *word = strtok(NULL, " \n");

	return word ? strtoull(word, NULL, 16) : 0;
}

void number_if_any(u32 *value)
{
	const char *word = strtok(NULL, " \n");

	if (word)
		*value = (u32)strtoull(word, NULL, 16);
}

struct vcpu *vcpu_argument(void)
{
	return &vcpu_areas[number() % SVSM_VCPUS_MAX].vcpu;
}

static void command_boot(void)
{
	struct svsm_boot *boot = &svsm.boot;
	u64 ram_low, ram_high;

	forget_ranges();
	alternate_forget();
	memset(&svsm, 0, sizeof(svsm));
	for (u32 i = 0; i < SVSM_VCPUS_MAX; i++) {
		vcpu_areas[i].vcpu = (struct vcpu){ 0 };
		memset(vcpu_areas[i].doorbell, 0, PAGE_SIZE);
	}
	boot->base = number();
	boot->memory_size = number();
	ram_low = number();
	ram_high = number();
	boot->guest_vmpl = (u32)number();
	svsm.vcpus = (u32)number();
	boot->flags = number();
	for (const char *word; (word = strtok(NULL, " \n"));) {
		u64 size = number();

		if (boot->regions < SVSM_BOOT_REGIONS)
			boot->region[boot->regions] = (struct svsm_region){ strtoull(word, NULL, 16), size };
		boot->regions++;
	}
	const struct svsm_map_entry map[SVSM_MAP_ENTRIES] = {
		{ .first = 0, .pages = ram_low / PAGE_SIZE },
		{ .first = MEMORY_4G / PAGE_SIZE, .pages = ram_high / PAGE_SIZE },
	};

	if (!memory_map_init(&svsm.memory, boot, map)) {
		puts("refused");
		return;
	}
	add_range(boot->base, boot->memory_size);
	add_range(0, ram_low);
	add_range(MEMORY_4G, ram_high);
	for (u32 i = 0; i < boot->regions; i++)
		add_range(boot->region[i].gpa, boot->region[i].size);
	for (u32 i = 0; i < svsm.vcpus && i < SVSM_VCPUS_MAX; i++)
		vcpu_areas[i].vcpu = (struct vcpu){ .svsm = &svsm, .index = i, .apic_id = i };
	puts("ok");
}

static void command_page(void)
{
	u64 gpa = number(), count = number();
	const char *state = strtok(NULL, " \n");

	for (u64 i = 0; i < count; i++) {
		struct page *page = find_page(gpa + i * PAGE_SIZE);

		if (page && state)
			page->state = *state;
	}
	puts("ok");
}

static void command_call(void)
{
	struct vcpu *vcpu = vcpu_argument();
	struct svsm_request request = { .protocol = (u32)number() };
	u64 result;

	request.call = (u32)number();
	request.rcx = number();
	request.rdx = number();
	request.r8 = number();
	request.sev_features = number();
	result = protocol_dispatch(vcpu, &request);
	printf("%" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", result, request.rcx, request.rdx, request.r8);
}

static void command_vmsa(void)
{
	struct vcpu *vcpu = vcpu_argument();

	vcpu->online = true;
	vcpu->vmsa_gpa = number();
	vcpu->caa_gpa = number();
	printf("%d\n", registry_add(&svsm.vmsas, (struct vmsa_entry){ .vmsa_gpa = vcpu->vmsa_gpa,
								      .caa_gpa = vcpu->caa_gpa,
								      .vcpu = vcpu->index }));
}

static void command_reset(void)
{
	struct vmsa vmsa;
	u8 vmpl = (u8)number();
	u64 features = number();

	vmsa_reset(&vmsa, vmpl, features, (u32)number());
	for (size_t i = 0; i < sizeof(vmsa); i++)
		printf("%02x", ((u8 *)&vmsa)[i]);
	putchar('\n');
}

static size_t __attribute__((noinline)) format_va(char *buffer, size_t size, const char *format, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, format);
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	length = format_text(buffer, size, format, arguments);
	va_end(arguments);
	return length;
}

static void command_format(void)
{
	u64 value = number();
	const char *text = strtok(NULL, "\n");
	char buffer[32];
	size_t length = format_va(buffer, sizeof(buffer), text ? text : "", value);

	printf("%zx %s\n", length, buffer);
}

static void command(const char *name)
{
	struct page *page;
	struct range *range;
	u64 gpa;

	if (!strcmp(name, "boot")) {
		command_boot();
	} else if (!strcmp(name, "online")) {
		vcpu_argument()->online = true;
		puts("ok");
	} else if (!strcmp(name, "page")) {
		command_page();
	} else if (!strcmp(name, "grant")) {
		page = find_page(number());
		gpa = number();
		if (page)
			page->permissions[gpa & 3] = (u8)number();
		puts("ok");
	} else if (!strcmp(name, "busy")) {
		page = find_page(number());
		if (page)
			page->busy = true;
		puts("ok");
	} else if (!strcmp(name, "rmp")) {
		page = find_page(number());
		if (page)
			printf("%c %x %x %x %d\n", page->state, page->permissions[1], page->permissions[2], page->permissions[3],
			       page->vmsa);
		else
			puts("none");
	} else if (!strcmp(name, "poke") || !strcmp(name, "peek")) {
		u64 value = 0;

		gpa = number();
		range = find_range(gpa);
		if (range && !strcmp(name, "poke")) {
			value = number();
			memcpy(range->data + (gpa - range->gpa), &value, sizeof(value));
		}
		if (range)
			memcpy(&value, range->data + (gpa - range->gpa), sizeof(value));
		printf("%" PRIx64 "\n", value);
	} else if (!strcmp(name, "vmsa")) {
		command_vmsa();
	} else if (!strcmp(name, "call")) {
		command_call();
	} else if (!strcmp(name, "vcpu")) {
		struct vcpu *vcpu = vcpu_argument();

		printf("%" PRIx64 " %" PRIx64 "\n", vcpu->vmsa_gpa, vcpu->caa_gpa);
	} else if (!strcmp(name, "guest")) {
		gpa = number();
		printf("%d\n", memory_is_guest(&svsm.memory, gpa, number()));
	} else if (!strcmp(name, "reset")) {
		command_reset();
	} else if (!strcmp(name, "format")) {
		command_format();
	} else if (!alternate_command(name)) {
		puts("unknown command");
	}
}

int main(void)
{
	static char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		const char *name = strtok(line, " \n");

		if (name)
			command(name);
		fflush(stdout);
	}
	forget_ranges();
	return 0;
}
