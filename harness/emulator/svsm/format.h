/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small printf. Pure: no hardware.
 */
#ifndef SVSM_FORMAT_H
#define SVSM_FORMAT_H

#include <stdarg.h>

#include "types.h"

/*
 * Writes at most size - 1 characters and a NUL; returns the length written (never size or more).
 * Supported: %s %c %u %x %X %%, with l (64 bits) and a zero or blank padded width.
 */
size_t format_text(char *buffer, size_t size, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

#endif
