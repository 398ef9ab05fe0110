/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of hypervisor/kernel_hashes.c and common/sha256.c: see test_kernel_hashes.py for the commands. */
#include "driver.h"
#include "fw_cfg.h"
#include "kernel_hashes.h"

#define ITEMS 0x20
#define PART  0x1000u /* of a fw_cfg_read() */

static u32 sizes[ITEMS], seeds[ITEMS]; /* byte i of an item is seed + 7 * i */
static u32 selected, position;
static struct hypervisor hv;

const u8 *fw_cfg_read(struct hypervisor *of, u16 item, u32 *size)
{
	static u8 buffer[PART];

	(void)of;
	if (item != FW_CFG_CONTINUE) {
		selected = item;
		position = 0;
	}
	if (*size > PART)
		*size = PART;
	for (u32 i = 0; i < *size; i++, position++)
		buffer[i] = position < sizes[selected] ? (u8)(seeds[selected] + 7 * position) : 0;
	if (selected != 0x11 && selected != 0x12 && selected != 0x15 && selected != 0x18) /* a size */
		memcpy(buffer, &sizes[selected], sizeof(u32));
	return buffer;
}

static void command(const char *name, const u64 *a)
{
	u8 memory[KERNEL_HASHES_SIZE] = { 0 };

	if (!strcmp(name, "item")) { /* item of the size, item of the data, size, seed */
		sizes[a[0]] = sizes[a[1]] = (u32)a[2];
		seeds[a[1]] = (u32)a[3];
		driver_answer(0);
		return;
	}
	kernel_hashes_fill(&hv, memory);
	driver_show(memory, sizeof(memory));
}

int main(void) { return driver_serve(command); }
