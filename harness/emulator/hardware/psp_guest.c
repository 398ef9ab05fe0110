/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "psp_guest.h"
#include "bytes.h"
#include "hmac384.h"

/* A key of this project's own derivation: HMAC of its name, by the seed. */
static void make(u64 seed, const char *name, u8 number, void *key, u32 size)
{
	u8 mac[SHA384_SIZE];
	struct hmac384 hmac;

	hmac384_begin(&hmac, &seed, sizeof(seed));
	while (*name)
		hmac384_add(&hmac, name++, 1);
	hmac384_add(&hmac, &number, sizeof(number));
	hmac384_end(&hmac, mac);
	memcpy(key, mac, size);
}

void psp_guest_begin(struct psp_guest *guest, u64 seed)
{
	static const char mark[] = "snp-harness test"; /* of a report's ID, where it has no NUL */

	for (u8 i = 0; i < SNP_VMPCKS; i++)
		make(seed, "snp-harness test VMPCK", i, guest->vmpck[i], SNP_VMPCK_SIZE);
	make(seed, "snp-harness test VMRK", 0, guest->vmrk, sizeof(guest->vmrk));
	make(seed, "snp-harness test report", 0, guest->report_id, sizeof(guest->report_id));
	memcpy(guest->report_id, mark, sizeof(mark) - 1);
}

/* The rest is 0: no migration image, no workarounds, no register of a VMSA is tweaked, the TSC has its nominal frequency. */
void psp_guest_secrets(const struct psp_guest *guest, u32 cpuid_signature, struct snp_secrets *page)
{
	memset(page, 0, sizeof(*page));
	page->version = SNP_SECRETS_VERSION;
	page->fms = cpuid_signature;
	memcpy(page->vmpck, guest->vmpck, sizeof(page->vmpck));
}
