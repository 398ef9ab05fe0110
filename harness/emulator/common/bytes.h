/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of memory, which the compiler may call as well. */
#ifndef SNP_BYTES_H
#define SNP_BYTES_H

#include <stddef.h>

void *memset(void *destination, int byte, size_t count);
void *memcpy(void *destination, const void *source, size_t count);

#endif
