/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order of the checks is that of AMD's firmware (its published source, sev_mcmd.c, snp_mcmd_guest_request). Messages
 * other than MSG_KEY_REQ and MSG_REPORT_REQ are refused as of an unknown type.
 */
#include "psp_message.h"
#include "aes_gcm.h"
#include "bytes.h"
#include "psp_report.h"

_Static_assert(AES_GCM_KEY == SNP_VMPCK_SIZE, "the AEAD's key");

#define COUNT_MAX (~0ull - 1) /* messages of a key: the last is a response, an even number */

struct iv {
	u8 bytes[AES_GCM_IV];
};

static struct iv iv_of(u64 sequence)
{
	struct iv iv = { { 0 } };

	memcpy(iv.bytes, &sequence, sizeof(sequence));
	return iv;
}

static struct aes_gcm_input input(const struct psp_guest *guest, const struct snp_message_header *header, const struct iv *iv)
{
	return (struct aes_gcm_input){ .key = guest->vmpck[header->vmpck], .iv = iv->bytes,
				       .aad = (const u8 *)header + SNP_MESSAGE_AAD, .aad_size = SNP_MESSAGE_AAD_SIZE };
}

static bool header_is_sound(const struct snp_message *message)
{
	const struct snp_message_header *header = &message->header;

	return header->header_version == SNP_MESSAGE_HEADER_VERSION && header->header_size == sizeof(*header) &&
	       header->algorithm == SNP_MESSAGE_ALGORITHM && header->size && header->size % SNP_MESSAGE_ALIGNMENT == 0 &&
	       header->size <= sizeof(message->payload) && header->vmpck < SNP_VMPCKS;
}

/* Decrypts it. */
static enum psp_status unwrap(struct psp_guest *guest, struct snp_message *message)
{
	const struct snp_message_header *header = &message->header;
	struct iv iv = iv_of(header->sequence);
	struct aes_gcm_input with;

	if (!header_is_sound(message))
		return PSP_INVALID_PARAM;
	with = input(guest, header, &iv);
	if (!aes_gcm_open(&with, message->payload, header->size, header->tag))
		return PSP_BAD_MEASUREMENT;
	if (guest->messages[header->vmpck] >= COUNT_MAX || header->sequence != guest->messages[header->vmpck] + 1)
		return PSP_AEAD_OFLOW;
	return header->version == SNP_MESSAGE_VERSION ? PSP_SUCCESS : PSP_INVALID_PARAM;
}

/* The payload of the answer; its header's type and size. */
static enum psp_status answer(struct psp_guest *guest, const struct snp_message *request, struct snp_message *response)
{
	const struct snp_message_header *header = &request->header;

	psp_launch_measure(&guest->launch);
	if (header->type == SNP_MESSAGE_KEY_REQUEST && header->size >= sizeof(struct snp_key_request)) {
		response->header.size = sizeof(struct snp_key_response);
		psp_key(guest, header->vmpck, (const struct snp_key_request *)request->payload,
			(struct snp_key_response *)response->payload);
	} else if (header->type == SNP_MESSAGE_REPORT_REQUEST && header->size >= sizeof(struct snp_report_request)) {
		response->header.size = sizeof(struct snp_report_response);
		psp_report(guest, header->vmpck, (const struct snp_report_request *)request->payload,
			   (struct snp_report_response *)response->payload);
	} else {
		return PSP_INVALID_PARAM;
	}
	response->header.type = header->type + 1;
	return PSP_SUCCESS;
}

static void wrap(const struct psp_guest *guest, const struct snp_message_header *request, struct snp_message *message)
{
	struct snp_message_header *header = &message->header;
	struct aes_gcm_input with;
	struct iv iv;

	header->sequence = request->sequence + 1;
	header->algorithm = SNP_MESSAGE_ALGORITHM;
	header->header_version = SNP_MESSAGE_HEADER_VERSION;
	header->header_size = sizeof(*header);
	header->version = SNP_MESSAGE_VERSION;
	header->vmpck = request->vmpck;
	iv = iv_of(header->sequence);
	with = input(guest, header, &iv);
	aes_gcm_seal(&with, message->payload, header->size, header->tag);
}

enum psp_status psp_message(struct psp_guest *guest, const struct snp_message *request, struct snp_message *response)
{
	struct snp_message message = *request, result = { 0 };
	enum psp_status status = guest->launch.running ? unwrap(guest, &message) : PSP_INVALID_GUEST_STATE;

	if (status == PSP_SUCCESS)
		status = answer(guest, &message, &result);
	if (status != PSP_SUCCESS)
		return status;
	wrap(guest, &message.header, &result);
	guest->messages[message.header.vmpck] += 2;
	*response = result;
	return PSP_SUCCESS;
}
