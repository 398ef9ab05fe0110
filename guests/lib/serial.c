/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COM1, a 16550 UART. A virtual machine's needs no set-up. */
#include "serial.h"
#include "cpu.h"
#include "io.h"

#define COM1           0x3F8
#define LINE_STATUS    5
#define TRANSMIT_EMPTY 0x40 /* everything is sent: a UART with a slow reader may drop what is written before that */
/* Long enough for a reader on a busy machine; a port that sends nothing does not stop the guest. */
#define PATIENCE_TICKS 10000000000ull /* of the TSC: several seconds at any rate */

static void put(char character)
{
	u64 start = rdtsc();

	while (!(io_in(COM1 + LINE_STATUS, 1) & TRANSMIT_EMPTY) && rdtsc() - start < PATIENCE_TICKS)
		;
	io_out(COM1, 1, (u8)character);
}

void print(const char *text)
{
	for (; *text; text++)
		put(*text);
}

void print_hex(u64 value)
{
	bool begun = false;

	for (int shift = 60; shift >= 0; shift -= 4) {
		u32 digit = value >> shift & 15;

		if (!digit && !begun && shift)
			continue;
		begun = true;
		put("0123456789abcdef"[digit]);
	}
}

void print_decimal(u64 value)
{
	char digits[20];
	u32 count = 0;

	do {
		digits[count++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (count)
		put(digits[--count]);
}
