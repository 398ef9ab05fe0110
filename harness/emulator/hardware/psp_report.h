/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to a guest's messages: attestation reports and derived keys (publication 56860, 7.2 and 7.3). Pure. */
#ifndef SNP_HW_PSP_REPORT_H
#define SNP_HW_PSP_REPORT_H

#include "psp_guest.h"
#include "snp_message.h"

/* vmpck: the number of the key of the request. `response` is zeros before. */
void psp_report(const struct psp_guest *guest, u8 vmpck, const struct snp_report_request *request,
		struct snp_report_response *response);
void psp_key(const struct psp_guest *guest, u8 vmpck, const struct snp_key_request *request, struct snp_key_response *response);

#endif
