/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The areas of the XSAVE family (SDM vol. 1, 13.4; APM vol. 2, 11.5): between the standard format, which TCG's XSAVE and
 * XRSTOR have, and the compacted one.
 *
 * Pure. An area is XSAVE_AREA bytes here; a processor has no component beyond that.
 */
#ifndef SNP_HW_XSAVE_FORMAT_H
#define SNP_HW_XSAVE_FORMAT_H

#include "xstate.h"

#define XSAVE_AREA 4096u

#define XCOMP_COMPACT BIT(63)

/* Offsets in the legacy area, and in the header after it. */
#define XSAVE_FCW       0u
#define XSAVE_MXCSR     24u
#define XSAVE_ST        32u
#define XSAVE_XMM       160u
#define XSAVE_XMM_END   416u
#define XSAVE_XSTATE_BV 512u
#define XSAVE_XCOMP_BV  520u
#define XSAVE_RESERVED  528u

#define XSAVE_FCW_INIT   0x37F
#define XSAVE_MXCSR_INIT 0x1F80
#define XSAVE_MXCSR_BITS 0xFFFF /* the others are reserved */

/* CPUID leaf D. */
struct xsave_layout {
	u64 supported; /* by components 2-62: those that have a place */
	u64 aligned;   /* to 64 bytes in the compacted format */
	u16 size[XSTATE_COMPONENTS];
	u16 offset[XSTATE_COMPONENTS]; /* in the standard format */
};

/* A component's sub-leaf: EAX, EBX, ECX. False, and ignored: it does not fit in XSAVE_AREA. */
bool xsave_layout_add(struct xsave_layout *layout, u32 component, u32 size, u32 offset, u32 flags);

/* The components of `features` that are not in their initial configuration, of an area in standard format. */
u64 xsave_in_use(const struct xsave_layout *layout, const u8 *image, u64 features);

/* Bytes up to the end of the last of `components` in a compacted area with this XCOMP_BV; XSAVE_EXTENDED at least. */
u32 xsave_compact_end(const struct xsave_layout *layout, u64 xcomp, u64 components);

/*
 * XSAVEC, XSAVES: what they write of a compacted area, from an area in standard format. `requested`: RFBM; `saved`: those
 * of them in use. Outside 64-bit mode registers 8-15 are not written.
 */
void xsave_compact(const struct xsave_layout *layout, const u8 *image, u64 requested, u64 saved, bool mode64, u8 *area);

/* XRSTORS, XRSTOR of a compacted area: whether they accept its header and MXCSR. `allowed`: XCR0, or with IA32_XSS. */
bool xsave_is_valid(const u8 *area, u64 allowed, u64 requested);

/*
 * XRSTORS, XRSTOR of a compacted area: changes the `requested` components of an area in standard format with the state of
 * before, header included, to what they load. Outside 64-bit mode registers 8-15 keep their values.
 */
void xsave_expand(const struct xsave_layout *layout, const u8 *area, u64 requested, bool mode64, u8 *image);

static inline u64 xsave_xstate(const u8 *area) { return *(const a64 *)(area + XSAVE_XSTATE_BV); }
static inline u64 xsave_xcomp(const u8 *area) { return *(const a64 *)(area + XSAVE_XCOMP_BV); }

#endif
