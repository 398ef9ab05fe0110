/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "psp_launch.h"
#include "bytes.h"

/* PAGE_INFO, which extends the launch digest (section 8.17.2). */
struct page_info {
	u8 digest[SHA384_SIZE]; /* so far */
	u8 contents[SHA384_SIZE];
	u16 length;
	u8 page_type;
	u8 imi_page;
	u8 vmpl_permissions[4]; /* of VMPL3, 2, 1, and reserved: KVM gives none */
	u64 gpa;
};
_Static_assert(sizeof(struct page_info) == 0x70, "publication 56860");

static bool is_repeated(const a64 *words)
{
	for (u32 i = 1; i < PAGE_SIZE / sizeof(*words); i++) {
		if (words[i] != words[0])
			return false;
	}
	return true;
}

static void hash_page(struct psp_launch *launch, const void *page, u8 *result)
{
	bool repeated = is_repeated(page);
	u64 first = *(const a64 *)page;

	if (repeated && launch->repeated_known && first == launch->repeated) {
		memcpy(result, launch->repeated_hash, SHA384_SIZE);
		return;
	}
	sha384(page, PAGE_SIZE, result);
	if (!repeated)
		return;
	launch->repeated = first;
	launch->repeated_known = true;
	memcpy(launch->repeated_hash, result, SHA384_SIZE);
}

void psp_launch_begin(struct psp_launch *launch, u64 policy)
{
	memset(launch, 0, sizeof(*launch));
	launch->policy = policy;
}

static bool is_measured(enum psp_page type) { return type == PSP_PAGE_NORMAL || type == PSP_PAGE_VMSA; }

enum psp_status psp_launch_pages(struct psp_launch *launch, enum psp_page type, u64 gpa, u64 pages, const u8 *contents)
{
	if (launch->running)
		return PSP_INVALID_GUEST_STATE;
	if (type < PSP_PAGE_NORMAL || type > PSP_PAGE_CPUID || (is_measured(type) && !contents))
		return PSP_INVALID_PARAM;
	if (launch->runs == PSP_RUNS)
		psp_launch_measure(launch);
	launch->run[launch->runs++] = (struct psp_run){ .type = type, .gpa = gpa, .pages = pages, .contents = contents };
	return PSP_SUCCESS;
}

static void measure(struct psp_launch *launch, const struct psp_run *run)
{
	struct page_info info = { .length = sizeof(info), .page_type = (u8)run->type };

	for (u64 page = 0; page < run->pages; page++) {
		info.gpa = run->gpa + page * PAGE_SIZE;
		memcpy(info.digest, launch->digest, sizeof(info.digest));
		if (is_measured(run->type))
			hash_page(launch, run->contents + page * PAGE_SIZE, info.contents);
		sha384(&info, sizeof(info), launch->digest);
	}
}

void psp_launch_measure(struct psp_launch *launch)
{
	for (u32 i = 0; i < launch->runs; i++)
		measure(launch, &launch->run[i]);
	launch->runs = 0;
}

enum psp_status psp_launch_finish(struct psp_launch *launch, const struct psp_finish *finish)
{
	if (launch->running)
		return PSP_INVALID_GUEST_STATE;
	if (!(launch->policy & PSP_POLICY_ONE))
		return PSP_POLICY_FAILURE;
	if (finish->id_block_en) {
		psp_launch_measure(launch);
		if (!bytes_are_equal(finish->id_block.launch_digest, launch->digest, sizeof(launch->digest)))
			return PSP_BAD_MEASUREMENT;
		if (finish->id_block.policy != launch->policy)
			return PSP_POLICY_FAILURE;
	}
	launch->finish = *finish;
	launch->running = true;
	return PSP_SUCCESS;
}
