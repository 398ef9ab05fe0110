/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RFLAGS (APM vol. 1, 3.1.4; vol. 2, 3.1.6). */
#ifndef SNP_RFLAGS_H
#define SNP_RFLAGS_H

#include "types.h"

#define RFLAGS_CF BIT(0)
#define RFLAGS_PF BIT(2)
#define RFLAGS_AF BIT(4)
#define RFLAGS_ZF BIT(6)
#define RFLAGS_SF BIT(7)
#define RFLAGS_TF BIT(8)
#define RFLAGS_IF BIT(9)
#define RFLAGS_OF BIT(11)
#define RFLAGS_NT BIT(14)
#define RFLAGS_RF BIT(16)
#define RFLAGS_VM BIT(17)
#define RFLAGS_AC BIT(18)

#endif
