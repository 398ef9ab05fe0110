/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "request.h"
#include "aes_gcm.h"
#include "bytes.h"
#include "guest.h"

static u64 messages[SNP_VMPCKS]; /* sent and received with each key */
static struct snp_message message;

void request_setup(void)
{
	for (u64 page = REQUEST_PAGE; page < REQUEST_DATA + REQUEST_DATA_PAGES * PAGE_SIZE; page += PAGE_SIZE) {
		make_shared(page);
		map_page(page, page, false);
	}
}

static struct aes_gcm_input input(u8 *iv)
{
	memset(iv, 0, AES_GCM_IV);
	memcpy(iv, &message.header.sequence, sizeof(message.header.sequence));
	return (struct aes_gcm_input){ .key = (const u8 *)secrets()->vmpck[message.header.vmpck & 3], .iv = iv,
				       .aad = (const u8 *)&message + SNP_MESSAGE_AAD, .aad_size = SNP_MESSAGE_AAD_SIZE };
}

void request_prepare(u8 vmpck, enum snp_message_type type, const void *payload, u16 size)
{
	struct aes_gcm_input with;
	u8 iv[AES_GCM_IV];

	memset(&message, 0, sizeof(message));
	message.header = (struct snp_message_header){
		.sequence = messages[vmpck] + 1,
		.algorithm = SNP_MESSAGE_ALGORITHM,
		.header_version = SNP_MESSAGE_HEADER_VERSION,
		.header_size = sizeof(message.header),
		.type = (u8)type,
		.version = SNP_MESSAGE_VERSION,
		.size = size,
		.vmpck = vmpck,
	};
	memcpy(message.payload, payload, size);
	with = input(iv);
	aes_gcm_seal(&with, message.payload, size, message.header.tag);
	memcpy((void *)REQUEST_PAGE, &message, sizeof(message));
}

u64 request_send(u64 code)
{
	if (nae(code, REQUEST_PAGE, RESPONSE_PAGE) != NAE_RESULT_OK)
		return UNANSWERED;
	if (nae_info2() == 0)
		messages[message.header.vmpck] += 2;
	return nae_info2();
}

void request_lost(u8 vmpck) { messages[vmpck] += 2; }

const void *request_answer(u32 size)
{
	u8 vmpck = message.header.vmpck, type = message.header.type;
	u64 sequence = message.header.sequence;
	struct aes_gcm_input with;
	u8 iv[AES_GCM_IV];

	memcpy(&message, (const void *)RESPONSE_PAGE, sizeof(message));
	if (message.header.type != type + 1 || message.header.vmpck != vmpck || message.header.sequence != sequence + 1 ||
	    message.header.size != size || size > sizeof(message.payload))
		return NULL;
	with = input(iv);
	return aes_gcm_open(&with, message.payload, size, message.header.tag) ? message.payload : NULL;
}

const struct snp_report *request_report(u8 vmpl, const u8 *data, u64 code)
{
	struct snp_report_request request = { .vmpl = vmpl };
	const struct snp_report_response *response;

	memcpy(request.report_data, data, sizeof(request.report_data));
	request_prepare(vmpl, SNP_MESSAGE_REPORT_REQUEST, &request, sizeof(request));
	ghcb_set(GHCB_RAX, REQUEST_DATA);
	ghcb_set(GHCB_RBX, REQUEST_DATA_PAGES);
	if (request_send(code))
		return NULL;
	response = request_answer(sizeof(*response));
	return response && response->status == 0 && response->size == sizeof(response->report) ? &response->report : NULL;
}

static void print_bytes(const char *name, const volatile u8 *bytes, u64 size)
{
	static const char digits[] = "0123456789abcdef";

	print(name);
	print(": ");
	while (size--) {
		const char text[] = { digits[*bytes >> 4], digits[*bytes & 15], 0 };

		print(text);
		bytes++;
	}
	print("\n");
}

void print_report(void)
{
	static const u8 data[64] = "snp-harness test guest";
	const struct snp_report *report;

	request_setup();
	report = request_report(own_vmpl(), data, NAE_EXTENDED_GUEST_REQUEST);
	if (!report)
		return;
	print_bytes("report", (const u8 *)report, sizeof(*report));
	print_bytes("certificates", (const volatile u8 *)REQUEST_DATA, REQUEST_DATA_PAGES * PAGE_SIZE);
}
