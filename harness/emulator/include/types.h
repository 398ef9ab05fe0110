/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SNP_TYPES_H
#define SNP_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

/* GPA accesses to guest memory alias other objects: these types may. */
typedef u8 __attribute__((may_alias)) a8;
typedef u16 __attribute__((may_alias, aligned(1))) a16;
typedef u32 __attribute__((may_alias, aligned(1))) a32;
typedef u64 __attribute__((may_alias, aligned(1))) a64;

#define PAGE_SIZE   4096ull
#define PAGE_SIZE_2M 0x200000ull
#define BIT(n)      (1ull << (n))

#endif
