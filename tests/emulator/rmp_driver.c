/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the RMP (harness/emulator/hardware/rmp.c): one command a line, numbers in hexadecimal, one line of
 * numbers as the answer. See tests/emulator/test_rmp.py for the commands.
 */
#include "driver.h"
#include "rmp.h"

/* Two ranges: 6 MiB, of which the first 2 MiB page is not whole, and 16 KiB. */
#define FIRST_SPA   0x100000ull
#define FIRST_SIZE  0x600000ull
#define SECOND_SPA  0x40000000ull
#define SECOND_SIZE 0x4000ull

static struct rmp rmp;

static void reset(void)
{
	for (u32 i = 0; i < rmp.segments; i++)
		free(rmp.segment[i].entries);
	memset(&rmp, 0, sizeof(rmp));
	rmp_cover(&rmp, FIRST_SPA, FIRST_SIZE, calloc(FIRST_SIZE / PAGE_SIZE, sizeof(struct rmp_entry)));
	rmp_cover(&rmp, SECOND_SPA, SECOND_SIZE, calloc(SECOND_SIZE / PAGE_SIZE, sizeof(struct rmp_entry)));
}

static u64 command(const char *name, const u64 *a)
{
	struct rmp_owner owner = { .gpa = a[1], .asid = (u32)a[2] };
	struct hw_rmp_entry entry;
	enum rmp_fault fault;
	bool unchanged;
	u32 result;

	if (!strcmp(name, "update")) /* spa gpa asid assigned large */
		return rmp_update(&rmp, a[0], &(struct hw_rmp_entry){ .gpa = a[1], .asid = (u32)a[2], .assigned = a[3], .large = a[4] });
	if (!strcmp(name, "psmash"))
		return rmp_psmash(&rmp, a[0]);
	if (!strcmp(name, "bits"))
		return rmp_entry(&rmp, a[0]) ? rmp_entry(&rmp, a[0])->bits : ~0ull;
	if (!strcmp(name, "read")) { /* GPA | assigned, large << 1, vmsa << 2, ASID << 4; ~0: not covered */
		if (!rmp_read(&rmp, a[0], &entry))
			return ~0ull;
		return entry.gpa | entry.assigned | (u64)entry.large << 1 | (u64)entry.vmsa << 2 | (u64)entry.asid << 4;
	}
	if (!strcmp(name, "check")) /* spa gpa asid vmpl cpl info */
		return rmp_check(&rmp, a[0], owner, (u32)a[3], (u32)a[4], a[5]);
	if (!strcmp(name, "validate")) { /* spa gpa asid large validate: fault << 16 | unchanged << 8 | result */
		fault = rmp_validate(&rmp, a[0], owner, a[3], a[4], &result, &unchanged);
		return (u64)fault << 16 | (u64)unchanged << 8 | result;
	}
	if (!strcmp(name, "adjust")) { /* spa gpa asid vmpl large attributes: fault << 16 | result */
		fault = rmp_adjust(&rmp, a[0], owner, (u32)a[3], a[4], a[5], &result);
		return (u64)fault << 16 | result;
	}
	if (!strcmp(name, "uniform"))
		return rmp_uniform(&rmp, a[0]);
	if (!strcmp(name, "large"))
		return rmp_large_possible(&rmp, a[0]);
	if (!strcmp(name, "vmsa"))
		return rmp_is_vmsa(&rmp, a[0]);
	if (!strcmp(name, "cover")) /* how many more ranges fit */
		for (u64 n = 0;; n++)
			if (!rmp_cover(&rmp, ~0ull - PAGE_SIZE + 1, 0, NULL))
				return n;
	reset();
	return 0;
}

static void answered(const char *name, const u64 *a)
{
	driver_answer(command(name, a));
}

int main(void)
{
	reset();
	return driver_serve(answered);
}
