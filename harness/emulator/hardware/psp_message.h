/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SNP_GUEST_REQUEST (publication 56860, 8.27): one message of the guest, and its answer. Pure. */
#ifndef SNP_HW_PSP_MESSAGE_H
#define SNP_HW_PSP_MESSAGE_H

#include "psp_guest.h"
#include "snp_message.h"

/* `response` is written on success only. A refusal of what the message asks for is a success, with a status in the answer. */
enum psp_status psp_message(struct psp_guest *guest, const struct snp_message *request, struct snp_message *response);

#endif
