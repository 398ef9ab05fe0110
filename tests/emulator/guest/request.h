/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest requests: messages to the security processor. */
#ifndef REQUEST_H
#define REQUEST_H

#include "snp_message.h"

#define REQUEST_PAGE  (TEST_AREA + 0x1E0000)
#define RESPONSE_PAGE (TEST_AREA + 0x1E1000)
#define REQUEST_DATA  (TEST_AREA + 0x1E2000) /* for certificates */
#define REQUEST_DATA_PAGES 4

void request_setup(void); /* makes these pages shared; may be called again */
/* Put a message into the request page, encrypted with a key of the secrets page, with the next sequence number. */
void request_prepare(u8 vmpck, enum snp_message_type type, const void *payload, u16 size);
/* Send it: the NAE event `code`. SW_EXITINFO2; UNANSWERED if SW_EXITINFO1 is not 0. */
#define UNANSWERED (~0ull)
u64 request_send(u64 code);
void request_lost(u8 vmpck); /* the answer to the last message was not seen */
/* The answer's payload, or NULL if it is not that of the request: another type, key, sequence number or tag. */
const void *request_answer(u32 size);
const struct snp_report *request_report(u8 vmpl, const u8 *data, u64 code); /* with the key of that VMPL; NULL: refused */

void print_report(void); /* and the certificates, in hexadecimal */

#endif
