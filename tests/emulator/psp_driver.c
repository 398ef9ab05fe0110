/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of hardware/psp_launch.c: see test_psp_launch.py for the commands. */
#include "driver.h"
#include "psp_launch.h"

static struct psp_launch launch;

static void page(enum psp_page type, u64 gpa, u64 first, u64 step)
{
	u64 words[PAGE_SIZE / 8]; /* word i is first + i * step */

	for (u32 i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = first + i * step;
	driver_answer(psp_launch_page(&launch, type, gpa, words));
}

static void command(const char *name, const u64 *a)
{
	struct psp_finish finish = { .id_block_en = (u32)a[0], .id_block.policy = a[1] };

	if (!strcmp(name, "begin")) { /* policy */
		psp_launch_begin(&launch, a[0]);
		driver_answer(0);
	} else if (!strcmp(name, "page")) { /* type, gpa, first word, step */
		page((enum psp_page)a[0], a[1], a[2], a[3]);
	} else if (!strcmp(name, "finish")) { /* with an ID block, its policy, what its last byte differs by */
		memcpy(finish.id_block.launch_digest, launch.digest, sizeof(launch.digest));
		finish.id_block.launch_digest[sizeof(launch.digest) - 1] ^= (u8)a[2];
		driver_answer(psp_launch_finish(&launch, &finish));
	} else if (!strcmp(name, "digest")) {
		driver_show(launch.digest, sizeof(launch.digest));
	}
}

int main(void) { return driver_serve(command); }
