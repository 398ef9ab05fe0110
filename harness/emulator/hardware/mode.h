/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mode of the guest's processor, and where it is. */
#ifndef SNP_HW_MODE_H
#define SNP_HW_MODE_H

#include "cpu.h"

u32 guest_mode_bits(const struct hw_cpu *cpu); /* 16, 32 or 64 */

#endif
