/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events 80000011 and 80000012 (publication 56421, 4.1.7 and 4.1.8), as KVM and the security processor answer them. */
#include "guest.h"
#include "psp.h"
#include "request.h"

#define MALFORMED(code, info1, info2, why)                           \
	do {                                                         \
		EQUAL(nae(code, info1, info2), NAE_RESULT_MALFORMED); \
		EQUAL(nae_info2(), why);                             \
	} while (0)
#define OTHER_PAGE (TEST_AREA + 0x1E8000) /* private */
#define NOWHERE    0x7000000000ull

static const u8 data[64] = { 1, 2, 3 };

TEST(request_report_of_the_own_vmpl, SEV)
{
	const struct snp_report *report;

	request_setup();
	report = request_report(own_vmpl(), data, NAE_GUEST_REQUEST);
	CHECK(report);
	EQUAL(report->version, SNP_REPORT_VERSION);
	EQUAL(report->vmpl, own_vmpl());
	EQUAL(report->report_data[2], 3);
	EQUAL(report->signature_algorithm, SNP_REPORT_ECDSA_P384);
	CHECK(any_bit(report->measurement, sizeof(report->measurement)));
	CHECK(report->policy & PSP_POLICY_ONE);
}

TEST(request_report_of_a_less_privileged_vmpl, SEV)
{
	const struct snp_report *report;

	request_setup();
	report = request_report(3, data, NAE_GUEST_REQUEST);
	CHECK(report);
	EQUAL(report->vmpl, 3);
}

/* The secrets page does not have its key; with the own key the answer is a status. */
TEST(request_report_of_a_more_privileged_vmpl, SVSM)
{
	struct snp_report_request request = { .vmpl = 1 };
	const struct snp_report_response *response;

	request_setup();
	request_prepare(1, SNP_MESSAGE_REPORT_REQUEST, &request, sizeof(request));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_BAD_MEASUREMENT);
	request_prepare(own_vmpl(), SNP_MESSAGE_REPORT_REQUEST, &request, sizeof(request));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_SUCCESS);
	response = request_answer(sizeof(*response));
	CHECK(response);
	EQUAL(response->status, PSP_INVALID_PARAM);
}

TEST(request_key, SEV)
{
	struct snp_key_request request = { .vmpl = 3, .fields = SNP_KEY_FIELD_MEASUREMENT };
	const struct snp_key_response *response;
	u8 first[sizeof(response->key)], difference = 0;

	request_setup();
	for (u32 i = 0; i < 2; i++) {
		request_prepare(own_vmpl(), SNP_MESSAGE_KEY_REQUEST, &request, sizeof(request));
		EQUAL(request_send(NAE_GUEST_REQUEST), PSP_SUCCESS);
		response = request_answer(sizeof(*response));
		CHECK(response);
		EQUAL(response->status, PSP_SUCCESS);
		CHECK(any_bit(response->key, sizeof(response->key)));
		for (u32 at = 0; at < sizeof(first); at++) {
			if (i)
				difference |= first[at] ^ response->key[at];
			first[at] = response->key[at];
		}
	}
	EQUAL(difference, 0);
}

TEST(request_unsupported_message, SEV)
{
	u8 payload[128] = { 0 };

	request_setup();
	request_prepare(own_vmpl(), SNP_MESSAGE_TSC_REQUEST, payload, sizeof(payload));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_INVALID_PARAM);
	request_prepare(own_vmpl(), SNP_MESSAGE_EXPORT_REQUEST, payload, sizeof(payload));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_INVALID_PARAM);
}

TEST(request_sequence_number_and_tag, SEV)
{
	struct snp_key_request request = { .vmpl = 3 };
	volatile struct snp_message *sent = (volatile struct snp_message *)REQUEST_PAGE;

	request_setup();
	request_prepare(own_vmpl(), SNP_MESSAGE_KEY_REQUEST, &request, sizeof(request));
	sent->header.tag[0] ^= 1;
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_BAD_MEASUREMENT);
	sent->header.tag[0] ^= 1;
	sent->header.sequence += 2;
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_BAD_MEASUREMENT); /* it is the IV */
	sent->header.sequence -= 2;
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_SUCCESS);
	CHECK(request_answer(sizeof(struct snp_key_response)));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_AEAD_OFLOW); /* the same again */
}

/* sev_es_validate_vmgexit */
TEST(request_pages, SEV)
{
	static const u64 codes[] = { NAE_GUEST_REQUEST, NAE_EXTENDED_GUEST_REQUEST };

	for (u32 i = 0; i < 2; i++) {
		MALFORMED(codes[i], REQUEST_PAGE + 8, RESPONSE_PAGE, NAE_ERR_MISSING_INPUT);
		MALFORMED(codes[i], REQUEST_PAGE, RESPONSE_PAGE + 0x800, NAE_ERR_MISSING_INPUT);
		MALFORMED(codes[i], REQUEST_PAGE, REQUEST_PAGE, NAE_ERR_MISSING_INPUT);
		MALFORMED(codes[i], ~0ull, ~0ull - 1, NAE_ERR_MISSING_INPUT);
	}
}

/* KVM reads and writes the shared side of a page, which is not what the guest sees. */
TEST(request_in_private_pages, SEV)
{
	struct snp_key_request request = { .vmpl = 3 };
	volatile u64 *other = (volatile u64 *)OTHER_PAGE;

	request_setup();
	CHECK(make_private(OTHER_PAGE));
	request_prepare(own_vmpl(), SNP_MESSAGE_KEY_REQUEST, &request, sizeof(request));
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		other[i] = ((const volatile u64 *)REQUEST_PAGE)[i];
	EQUAL(nae(NAE_GUEST_REQUEST, OTHER_PAGE, RESPONSE_PAGE), NAE_RESULT_OK);
	EQUAL(nae_info2(), PSP_INVALID_PARAM);
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		other[i] = i;
	EQUAL(nae(NAE_GUEST_REQUEST, REQUEST_PAGE, OTHER_PAGE), NAE_RESULT_OK);
	EQUAL(nae_info2(), PSP_SUCCESS);
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		EQUAL(other[i], i);
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_AEAD_OFLOW); /* that one was counted */
	request_lost(own_vmpl());
	request_prepare(own_vmpl(), SNP_MESSAGE_KEY_REQUEST, &request, sizeof(request));
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_SUCCESS);
}

TEST(request_certificates, SEV)
{
	const struct { u8 guid[16]; u32 offset, size; } *entry = (const void *)REQUEST_DATA;
	u64 end = 4 * sizeof(*entry);

	request_setup();
	CHECK(request_report(own_vmpl(), data, NAE_EXTENDED_GUEST_REQUEST));
	for (u32 i = 0; i < 3; i++) {
		CHECK(any_bit(entry[i].guid, sizeof(entry[i].guid)));
		EQUAL(entry[i].offset, end);
		EQUAL(*(const u8 *)((u64)REQUEST_DATA + entry[i].offset), 0x30); /* DER: a sequence */
		end += entry[i].size;
	}
	CHECK(!any_bit((const u8 *)&entry[3], sizeof(*entry)));
	CHECK(end <= REQUEST_DATA_PAGES * PAGE_SIZE);
	CHECK(!any_bit((const u8 *)(REQUEST_DATA + end), PAGE_SIZE - end % PAGE_SIZE));
}

/* snp_handle_ext_guest_req, and QEMU's certificates. */
TEST(request_certificates_refused, SEV)
{
	struct snp_report_request request = { .vmpl = 3 };

	request_setup();
	request_prepare(own_vmpl(), SNP_MESSAGE_REPORT_REQUEST, &request, sizeof(request));
	MALFORMED(NAE_EXTENDED_GUEST_REQUEST, REQUEST_PAGE, RESPONSE_PAGE, NAE_ERR_INVALID_INPUT); /* no RAX, RBX */
	ghcb_set(GHCB_RAX, REQUEST_DATA);
	MALFORMED(NAE_EXTENDED_GUEST_REQUEST, REQUEST_PAGE, RESPONSE_PAGE, NAE_ERR_INVALID_INPUT); /* no RBX */
	ghcb_set(GHCB_RAX, REQUEST_DATA + 16);
	ghcb_set(GHCB_RBX, REQUEST_DATA_PAGES);
	MALFORMED(NAE_EXTENDED_GUEST_REQUEST, REQUEST_PAGE, RESPONSE_PAGE, NAE_ERR_INVALID_INPUT);
	for (u64 pages = 0; pages < 2; pages++) {
		ghcb_set(GHCB_RAX, REQUEST_DATA);
		ghcb_set(GHCB_RBX, pages);
		EQUAL(request_send(NAE_EXTENDED_GUEST_REQUEST), NAE_REQUEST_INVALID_LENGTH);
		CHECK(ghcb_valid(GHCB_RBX));
		EQUAL(ghcb_get(GHCB_RBX), 2);
	}
	ghcb_set(GHCB_RAX, NOWHERE);
	ghcb_set(GHCB_RBX, 2);
	EQUAL(request_send(NAE_EXTENDED_GUEST_REQUEST), NAE_REQUEST_ERROR);
	ghcb_set(GHCB_RAX, ~0xFFFull);
	ghcb_set(GHCB_RBX, ~0ull);
	EQUAL(request_send(NAE_EXTENDED_GUEST_REQUEST), NAE_REQUEST_ERROR);
	/* The security processor was not asked: the message is still the next one. */
	EQUAL(request_send(NAE_GUEST_REQUEST), PSP_SUCCESS);
	CHECK(request_answer(sizeof(struct snp_report_response)));
}

/* Other messages need no certificates: RAX and RBX are not looked at. */
TEST(request_extended_without_a_report, SEV)
{
	struct snp_key_request request = { .vmpl = 3 };

	request_setup();
	request_prepare(own_vmpl(), SNP_MESSAGE_KEY_REQUEST, &request, sizeof(request));
	EQUAL(request_send(NAE_EXTENDED_GUEST_REQUEST), PSP_SUCCESS);
	CHECK(request_answer(sizeof(struct snp_key_response)));
}
