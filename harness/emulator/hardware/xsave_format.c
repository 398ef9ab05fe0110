/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xsave_format.h"
#include "bytes.h"

#define XMM_HALF     128u   /* registers 0-7, of the XMM and of the upper YMM halves */

bool xsave_layout_add(struct xsave_layout *layout, u32 component, u32 size, u32 offset, u32 flags)
{
	if (component < 2 || component >= XSTATE_COMPONENTS || !size || size > XSAVE_AREA || offset > XSAVE_AREA - size ||
	    offset < XSAVE_EXTENDED)
		return false;
	layout->supported |= BIT(component);
	layout->aligned |= flags & XSAVE_ECX_ALIGNED ? BIT(component) : 0;
	layout->size[component] = (u16)size;
	layout->offset[component] = (u16)offset;
	return true;
}

static bool in_use(const struct xsave_layout *layout, const u8 *image, u32 component)
{
	switch (component) {
	case 0:
		return *(const a16 *)image != XSAVE_FCW_INIT || !bytes_are_zero(image + 2, XSAVE_MXCSR - 2) ||
		       !bytes_are_zero(image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	case 1:
		return *(const a32 *)(image + XSAVE_MXCSR) != XSAVE_MXCSR_INIT ||
		       !bytes_are_zero(image + XSAVE_XMM, XSAVE_XMM_END - XSAVE_XMM);
	default:
		return !bytes_are_zero(image + layout->offset[component], layout->size[component]);
	}
}

u64 xsave_in_use(const struct xsave_layout *layout, const u8 *image, u64 features)
{
	u64 found = 0;

	features &= layout->supported | XSTATE_X87 | XSTATE_SSE;
	for (u32 i = 0; i < XSTATE_COMPONENTS; i++) {
		if ((features & BIT(i)) && in_use(layout, image, i))
			found |= BIT(i);
	}
	return found;
}

/* The place of the next component of XCOMP_BV; `end` is where the one before it ended. */
static u32 place(const struct xsave_layout *layout, u32 component, u32 end)
{
	return layout->aligned & BIT(component) ? (end + 63) & ~63u : end;
}

u32 xsave_compact_end(const struct xsave_layout *layout, u64 xcomp, u64 components)
{
	u32 end = XSAVE_EXTENDED, last = XSAVE_EXTENDED;

	for (u32 i = 2; i < XSTATE_COMPONENTS; i++) {
		if (!(xcomp & layout->supported & BIT(i)))
			continue;
		end = place(layout, i, end) + layout->size[i];
		if (components & BIT(i))
			last = end;
	}
	return last;
}

static u32 width(const struct xsave_layout *layout, u32 component, bool mode64)
{
	return component == 2 && !mode64 && layout->size[2] > XMM_HALF ? XMM_HALF : layout->size[component];
}

void xsave_compact(const struct xsave_layout *layout, const u8 *image, u64 requested, u64 saved, bool mode64, u8 *area)
{
	u32 end = XSAVE_EXTENDED;

	if (saved & XSTATE_X87) {
		memcpy(area, image, XSAVE_MXCSR);
		memcpy(area + XSAVE_ST, image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	}
	if (saved & XSTATE_SSE) {
		memcpy(area + XSAVE_MXCSR, image + XSAVE_MXCSR, XSAVE_ST - XSAVE_MXCSR);
		memcpy(area + XSAVE_XMM, image + XSAVE_XMM, mode64 ? XSAVE_XMM_END - XSAVE_XMM : XMM_HALF);
	}
	for (u32 i = 2; i < XSTATE_COMPONENTS; i++) {
		if (!(requested & layout->supported & BIT(i)))
			continue;
		end = place(layout, i, end);
		if (saved & BIT(i))
			memcpy(area + end, image + layout->offset[i], width(layout, i, mode64));
		end += layout->size[i];
	}
	*(a64 *)(area + XSAVE_XSTATE_BV) = saved;
	*(a64 *)(area + XSAVE_XCOMP_BV) = requested | XCOMP_COMPACT;
}

bool xsave_is_valid(const u8 *area, u64 allowed, u64 requested)
{
	u64 xcomp = xsave_xcomp(area), xstate = xsave_xstate(area);

	if (!(xcomp & XCOMP_COMPACT) || (xcomp & ~XCOMP_COMPACT & ~allowed) || (xstate & ~(xcomp & ~XCOMP_COMPACT)))
		return false;
	if (!bytes_are_zero(area + XSAVE_RESERVED, XSAVE_EXTENDED - XSAVE_RESERVED))
		return false;
	return !(xstate & requested & XSTATE_SSE) || !(*(const a32 *)(area + XSAVE_MXCSR) & ~XSAVE_MXCSR_BITS);
}

static void initial(u8 *image, u32 offset, u32 size) { memset(image + offset, 0, size); }

static void expand_x87(const u8 *area, bool loaded, u8 *image)
{
	if (loaded) {
		memcpy(image, area, XSAVE_MXCSR);
		memcpy(image + XSAVE_ST, area + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
		return;
	}
	initial(image, 0, XSAVE_MXCSR);
	initial(image, XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	*(a16 *)(image + XSAVE_FCW) = XSAVE_FCW_INIT;
}

static void expand_sse(const u8 *area, bool loaded, bool mode64, u8 *image)
{
	u32 size = mode64 ? XSAVE_XMM_END - XSAVE_XMM : XMM_HALF;

	*(a32 *)(image + XSAVE_MXCSR) = loaded ? *(const a32 *)(area + XSAVE_MXCSR) : XSAVE_MXCSR_INIT;
	if (loaded)
		memcpy(image + XSAVE_XMM, area + XSAVE_XMM, size);
	else
		initial(image, XSAVE_XMM, size);
}

void xsave_expand(const struct xsave_layout *layout, const u8 *area, u64 requested, bool mode64, u8 *image)
{
	u64 xcomp = xsave_xcomp(area), xstate = xsave_xstate(area);
	u32 end = XSAVE_EXTENDED;

	if (requested & XSTATE_X87)
		expand_x87(area, xstate & XSTATE_X87, image);
	if (requested & XSTATE_SSE)
		expand_sse(area, xstate & XSTATE_SSE, mode64, image);
	for (u32 i = 2; i < XSTATE_COMPONENTS; i++) {
		bool present = xcomp & layout->supported & BIT(i);
		u32 size = width(layout, i, mode64);

		if (present)
			end = place(layout, i, end);
		if (requested & layout->supported & xstate & BIT(i))
			memcpy(image + layout->offset[i], area + end, size);
		else if (requested & layout->supported & BIT(i))
			initial(image, layout->offset[i], size);
		if (present)
			end += layout->size[i];
	}
	*(a64 *)(image + XSAVE_XSTATE_BV) = requested;
	*(a64 *)(image + XSAVE_XCOMP_BV) = 0;
}
