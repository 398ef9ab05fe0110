/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written to COM1's first register and not sent: the log must not have it (test_guest.py compares). */
#include "guest.h"

#define COM1         0x3F8
#define LINE_CONTROL (COM1 + 3)
#define DLAB         0x80
#define MODEM        (COM1 + 4)
#define LOOPBACK     0x10
#define LINE_STATUS  (COM1 + 5)
#define RECEIVED     0x01

TEST(divisor_and_loopback_send_nothing, ALL)
{
	u8 line = (u8)io_in(LINE_CONTROL, 1), modem = (u8)io_in(MODEM, 1);
	u32 low, sent;

	io_out(LINE_CONTROL, 1, line | DLAB);
	low = (u32)io_in(COM1, 1);
	io_out(COM1, 1, 'D');
	io_out(COM1, 1, low);
	io_out(LINE_CONTROL, 1, line & ~DLAB);
	io_out(MODEM, 1, modem | LOOPBACK);
	io_out(COM1, 1, 'L');
	sent = (u32)io_in(LINE_STATUS, 1) & RECEIVED ? (u32)io_in(COM1, 1) : 'L';
	io_out(MODEM, 1, modem);
	io_out(LINE_CONTROL, 1, line);
	EQUAL(sent, 'L');
}
