/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State components of the XSAVE family (SDM vol. 1, 13.1 and 13.4; APM vol. 2, 11.5). */
#ifndef SNP_XSTATE_H
#define SNP_XSTATE_H

#include "types.h"

/* Bits of XCR0, XSTATE_BV and XCOMP_BV. */
#define XSTATE_X87 BIT(0)
#define XSTATE_SSE BIT(1)
#define XSTATE_AVX BIT(2)
#define XSTATE_COMPONENTS 63u

#define XSAVE_EXTENDED 576u /* bytes: the legacy area and the header. The other components come after them */

/* Of a component's sub-leaf of CPUID leaf D. */
#define XSAVE_ECX_ALIGNED BIT(1) /* to 64 bytes in the compacted format */

#endif
