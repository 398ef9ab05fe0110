/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of hardware/psp_message.c: see psp_messages.py for the commands. */
#include "buffers.h"
#include "psp_message.h"

static struct psp_guest guest;

/* Buffer 0: struct psp_finish. Buffer 1: the launch digest. */
static void begin(u64 seed, u64 policy)
{
	psp_guest_begin(&guest, seed);
	memset(guest.messages, 0, sizeof(guest.messages));
	psp_launch_begin(&guest.launch, policy);
	memcpy(&guest.launch.finish, buffer[0].bytes, sizeof(guest.launch.finish));
	memcpy(guest.launch.digest, buffer[1].bytes, sizeof(guest.launch.digest));
	guest.launch.running = true;
}

static void command(const char *name, const u64 *a)
{
	struct snp_message *response;

	if (buffers_command(name, a))
		return;
	if (!strcmp(name, "begin")) { /* seed, policy; answers the guest's keys, VMPCK0-3 */
		begin(a[0], a[1]);
		driver_show(guest.vmpck[0], sizeof(guest.vmpck));
	} else if (!strcmp(name, "count")) { /* key, messages so far */
		guest.messages[a[0]] = a[1];
		driver_answer(0);
	} else if (!strcmp(name, "unfinished")) { /* as before SNP_LAUNCH_FINISH */
		guest.launch.running = false;
		driver_answer(0);
	} else if (!strcmp(name, "request")) { /* buffer 2; answers the status and what the response page has then */
		response = malloc(sizeof(*response));
		memset(response, 0xEE, sizeof(*response));
		printf("%x ", psp_message(&guest, (const struct snp_message *)buffer[2].bytes, response));
		driver_show((const u8 *)response, sizeof(*response));
		free(response);
	}
}

int main(void) { return driver_serve(command); }
