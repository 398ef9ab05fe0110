/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port. */
#ifndef GUEST_SERIAL_H
#define GUEST_SERIAL_H

#include "types.h"

void print(const char *text);
void print_hex(u64 value);
void print_decimal(u64 value);

#endif
