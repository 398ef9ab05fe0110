/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "psp_report.h"
#include "bytes.h"
#include "hmac384.h"
#include "p384.h"
#include "psp_keys.h"

#define VMPLS     4
#define API_MAJOR 1 /* of publication 56860, revision 1.55 */
#define API_MINOR 55

static const u8 vcek[] __attribute__((nonstring)) = PSP_TEST_VCEK;
static const u8 chip_id[] = PSP_TEST_CHIP_ID;

_Static_assert(sizeof(vcek) - 1 == P384_SIZE, "without NUL");
_Static_assert(sizeof(chip_id) - 1 == sizeof(((struct snp_report *)0)->chip_id), "without NUL");

/* There is no VLEK. */
static bool has_key(u32 select)
{
	return (select & SNP_KEY_SELECT_MASK) == SNP_KEY_VLEK_OR_VCEK || (select & SNP_KEY_SELECT_MASK) == SNP_KEY_VCEK;
}

static enum psp_status check_report(u8 vmpck, const struct snp_report_request *request)
{
	if (!bytes_are_zero(request->reserved, sizeof(request->reserved)) || request->key_select & ~SNP_KEY_SELECT_MASK)
		return PSP_INVALID_PARAM;
	if (!has_key(request->key_select))
		return PSP_INVALID_KEY;
	return request->vmpl < vmpck || request->vmpl >= VMPLS ? PSP_INVALID_PARAM : PSP_SUCCESS;
}

/* From the launch. */
static void describe_launch(const struct psp_launch *launch, struct snp_report *report)
{
	const struct psp_finish *finish = &launch->finish;

	report->policy = launch->policy;
	memcpy(report->measurement, launch->digest, sizeof(report->measurement));
	memcpy(report->host_data, finish->host_data, sizeof(report->host_data));
	if (!finish->id_block_en)
		return;
	report->guest_svn = finish->id_block.guest_svn;
	memcpy(report->family_id, finish->id_block.family_id, sizeof(report->family_id));
	memcpy(report->image_id, finish->id_block.image_id, sizeof(report->image_id));
	memcpy(report->id_key_digest, finish->id_key_digest, sizeof(report->id_key_digest));
	if (!finish->author_key_en)
		return;
	report->flags |= SNP_REPORT_AUTHOR_KEY_EN;
	memcpy(report->author_key_digest, finish->author_key_digest, sizeof(report->author_key_digest));
}

static void reverse(u8 *to, const u8 *from)
{
	for (u32 i = 0; i < P384_SIZE; i++)
		to[i] = from[P384_SIZE - 1 - i];
}

static void sign(struct snp_report *report)
{
	u8 hash[SHA384_SIZE], r[P384_SIZE], s[P384_SIZE];

	sha384(report, SNP_REPORT_SIGNED, hash);
	p384_sign(vcek, hash, r, s);
	reverse(report->signature_r, r);
	reverse(report->signature_s, s);
}

void psp_report(const struct psp_guest *guest, u8 vmpck, const struct snp_report_request *request,
		struct snp_report_response *response)
{
	struct snp_report *report = &response->report;

	response->size = sizeof(*report);
	response->status = check_report(vmpck, request);
	if (response->status != PSP_SUCCESS)
		return;
	report->version = SNP_REPORT_VERSION;
	report->vmpl = request->vmpl;
	report->signature_algorithm = SNP_REPORT_ECDSA_P384;
	describe_launch(&guest->launch, report);
	memcpy(report->report_data, request->report_data, sizeof(report->report_data));
	memcpy(report->report_id, guest->report_id, sizeof(report->report_id));
	memset(report->report_id_ma, 0xFF, sizeof(report->report_id_ma));
	memcpy(report->chip_id, chip_id, sizeof(report->chip_id));
	report->current_minor = report->committed_minor = API_MINOR;
	report->current_major = report->committed_major = API_MAJOR;
	sign(report);
}

/* What a derived key depends on, as in AMD's firmware, where the digests are cut to 32 bytes. */
struct mix {
	u32 root_key_select;
	u32 id_key_select; /* 0: no ID block, 1: its ID key, 2: its author key */
	u64 fields;
	u32 vmpl;
	u32 guest_svn;
	u64 tcb;
	u64 policy;
	u8 image_id[16];
	u8 family_id[16];
	u8 measurement[48];
	u8 host_data[32];
	u8 id_key_digest[48];
};

static enum psp_status check_key(const struct psp_guest *guest, u8 vmpck, const struct snp_key_request *request)
{
	const struct psp_finish *finish = &guest->launch.finish;
	u32 select = request->root_key_select >> SNP_KEY_ROOT_SELECT_SHIFT;
	u32 guest_svn = finish->id_block_en ? finish->id_block.guest_svn : 0;

	if (request->reserved || select & ~SNP_KEY_SELECT_MASK)
		return PSP_INVALID_PARAM;
	if (!(request->root_key_select & SNP_KEY_ROOT_VMRK) && !has_key(select))
		return PSP_INVALID_KEY;
	if (request->vmpl < vmpck || request->fields & ~SNP_KEY_FIELDS)
		return PSP_INVALID_PARAM;
	if ((request->fields & SNP_KEY_FIELD_TCB) && request->tcb) /* beyond the committed one, 0 */
		return PSP_INVALID_PARAM;
	return request->fields & SNP_KEY_FIELD_GUEST_SVN && request->guest_svn > guest_svn ? PSP_INVALID_PARAM : PSP_SUCCESS;
}

static struct mix mix_of(const struct psp_launch *launch, const struct snp_key_request *request)
{
	const struct psp_finish *finish = &launch->finish;
	struct mix mix = { .root_key_select = request->root_key_select & SNP_KEY_ROOT_VMRK, .fields = request->fields,
			   .vmpl = request->vmpl };

	memcpy(mix.host_data, finish->host_data, sizeof(mix.host_data));
	if (finish->id_block_en) {
		mix.id_key_select = finish->author_key_en ? 2 : 1;
		memcpy(mix.id_key_digest, finish->author_key_en ? finish->author_key_digest : finish->id_key_digest,
		       sizeof(mix.id_key_digest));
	}
	if (request->fields & SNP_KEY_FIELD_POLICY)
		mix.policy = launch->policy;
	if (request->fields & SNP_KEY_FIELD_MEASUREMENT)
		memcpy(mix.measurement, launch->digest, sizeof(mix.measurement));
	if (request->fields & SNP_KEY_FIELD_GUEST_SVN)
		mix.guest_svn = request->guest_svn;
	if (request->fields & SNP_KEY_FIELD_IMAGE_ID && finish->id_block_en)
		memcpy(mix.image_id, finish->id_block.image_id, sizeof(mix.image_id));
	if (request->fields & SNP_KEY_FIELD_FAMILY_ID && finish->id_block_en)
		memcpy(mix.family_id, finish->id_block.family_id, sizeof(mix.family_id));
	return mix;
}

/* The derivation is this project's own: HMAC by the test's root key. */
void psp_key(const struct psp_guest *guest, u8 vmpck, const struct snp_key_request *request, struct snp_key_response *response)
{
	static const char label[] = "snp-harness test derived key";
	struct mix mix;
	struct hmac384 hmac;
	u8 mac[SHA384_SIZE];

	response->status = check_key(guest, vmpck, request);
	if (response->status != PSP_SUCCESS)
		return;
	mix = mix_of(&guest->launch, request);
	if (request->root_key_select & SNP_KEY_ROOT_VMRK)
		hmac384_begin(&hmac, guest->vmrk, sizeof(guest->vmrk));
	else
		hmac384_begin(&hmac, vcek, P384_SIZE);
	hmac384_add(&hmac, label, sizeof(label));
	hmac384_add(&hmac, &mix, sizeof(mix));
	hmac384_end(&hmac, mac);
	memcpy(response->key, mac, sizeof(response->key));
}
