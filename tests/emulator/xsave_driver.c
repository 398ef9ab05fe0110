/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of the areas of XSAVE, which are in buffers: see tests/emulator/test_xsave_format.py for the commands. */
#include "buffers.h"
#include "xsave_format.h"

static struct xsave_layout layout;

static void command(const char *name, const u64 *a)
{
	u8 *from = buffer[0].bytes, *to = buffer[1].bytes;

	if (buffers_command(name, a))
		return;
	if (!strcmp(name, "reset")) {
		memset(&layout, 0, sizeof(layout));
		driver_answer(0);
	} else if (!strcmp(name, "add")) { /* as xsave_layout_add() has them */
		driver_answer(xsave_layout_add(&layout, (u32)a[0], (u32)a[1], (u32)a[2], (u32)a[3]));
	} else if (!strcmp(name, "end")) { /* requested, saved */
		driver_answer(xsave_compact_end(&layout, a[0], a[1]));
	} else if (!strcmp(name, "in_use")) { /* features; buffer 0: in standard format */
		driver_answer(xsave_in_use(&layout, from, a[0]));
	} else if (!strcmp(name, "valid")) { /* allowed, requested; buffer 0: compacted */
		driver_answer(xsave_is_valid(from, a[0], a[1]));
	} else if (!strcmp(name, "compact")) { /* requested, saved, 64-bit mode; answers what buffer 1 has then */
		xsave_compact(&layout, from, a[0], a[1], a[2], to);
		driver_show(to, buffer[1].size);
	} else if (!strcmp(name, "expand")) { /* requested, 64-bit mode; answers what buffer 1 has then */
		xsave_expand(&layout, from, a[0], a[1], to);
		driver_show(to, buffer[1].size);
	}
}

int main(void) { return driver_serve(command); }
