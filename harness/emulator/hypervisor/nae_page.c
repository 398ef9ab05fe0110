/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers in a GHCB page. */
#include "nae.h"

u64 nae_get(const struct nae *nae, u32 offset) { return *(volatile a64 *)(nae->ghcb + offset); }

void nae_set(struct nae *nae, u32 offset, u64 value)
{
	u32 bit = GHCB_VALID_BIT(offset);

	*(volatile a64 *)(nae->ghcb + offset) = value;
	nae->ghcb[GHCB_VALID_BITMAP + bit / 8] |= (u8)(1 << bit % 8);
}

bool nae_supplied(const struct nae *nae, u32 offset)
{
	u32 bit = GHCB_VALID_BIT(offset);

	return nae->valid[bit / 8] & (1 << bit % 8);
}

bool nae_need(struct nae *nae, u32 a, u32 b)
{
	if (nae_supplied(nae, a) && nae_supplied(nae, b))
		return true;
	nae_refuse(nae, NAE_ERR_MISSING_INPUT);
	return false;
}
