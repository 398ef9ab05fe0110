/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of hardware/psp_launch.c: see test_psp_launch.py for the commands. */
#include "driver.h"
#include "psp_launch.h"

static struct psp_launch launch;

#define CONTENTS_MAX 256 /* pages: they stay until the next "begin" */

static u64 contents[CONTENTS_MAX * PAGE_SIZE / 8];
static u64 used; /* pages */

static void pages(enum psp_page type, u64 gpa, u64 count, u64 first, u64 step)
{
	u64 *words = contents + used * PAGE_SIZE / 8; /* word i is first + i * step */

	for (u32 i = 0; i < count * PAGE_SIZE / 8; i++)
		words[i] = first + i * step;
	used += count;
	driver_answer(psp_launch_pages(&launch, type, gpa, count, (const u8 *)words));
}

static void command(const char *name, const u64 *a)
{
	struct psp_finish finish = { .id_block_en = (u32)a[0], .id_block.policy = a[1] };
	struct psp_launch measured;

	if (!strcmp(name, "begin")) { /* policy */
		psp_launch_begin(&launch, a[0]);
		used = 0;
		driver_answer(0);
	} else if (!strcmp(name, "pages")) { /* type, gpa, pages, first word, step */
		pages((enum psp_page)a[0], a[1], a[2], a[3], a[4]);
	} else if (!strcmp(name, "nothing")) { /* type: a page without contents */
		driver_answer(psp_launch_pages(&launch, (enum psp_page)a[0], 0, 1, NULL));
	} else if (!strcmp(name, "finish")) { /* with an ID block, its policy, what its last byte differs by */
		measured = launch;
		psp_launch_measure(&measured);
		memcpy(finish.id_block.launch_digest, measured.digest, sizeof(measured.digest));
		finish.id_block.launch_digest[sizeof(measured.digest) - 1] ^= (u8)a[2];
		driver_answer(psp_launch_finish(&launch, &finish));
	} else if (!strcmp(name, "waiting")) { /* runs that are not measured yet */
		driver_answer(launch.runs);
	} else if (!strcmp(name, "digest")) {
		psp_launch_measure(&launch);
		driver_show(launch.digest, sizeof(launch.digest));
	}
}

int main(void) { return driver_serve(command); }
