/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's hypervisor, as Alternate Injection meets it, and the commands for it; see driver.c.
 *
 *   alternate VCPU FEATURES            hypervisor features; alternate_init(): "ok" or "refused"
 *   faults MASK EVERY AFTER REGISTER RESULT CALL  SVSM_FAULT_*, and no occasions yet
 *   present VCPU                       alternate_present() with the vCPU's VMSA
 *   resume VCPU                        lapic_resume_event() with the vCPU's VMSA
 *   doorbell VCPU OFFSET [VALUE]       32 bits of the doorbell page
 *   inbox VCPU                         IPIs that wait for the vCPU: "NMI WORD0 ... WORD7"
 *   refuse CODE                        the hypervisor refuses this NAE event; 0: none
 *   msr MSR VALUE                      what it answers to a read
 *   nae                                NAE events since the last time: "CODE INFO1 INFO2 RAX RCX RDX" each, ";" behind
 *   fuzz SEED STEPS                    a hostile hypervisor and guest at random: "ok", or ends by abort()
 */
#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alternate.h"
#include "console.h"
#include "doorbell.h"
#include "ghcb_call.h"
#include "hardware.h"
#include "protocol.h"

#define EVENTS_MAX 64
#define MSRS       0x1000

static struct nae_event events[EVENTS_MAX];
static u32 event_count;
static u64 refused;
static u64 msrs[MSRS];

void alternate_forget(void)
{
	event_count = 0;
	refused = 0;
	memset(msrs, 0, sizeof(msrs));
}

/* Events past the list's end are answered, and not kept. */
bool ghcb_call(struct vcpu *vcpu, struct nae_event *event)
{
	(void)vcpu;
	if (event_count < EVENTS_MAX)
		events[event_count++] = *event;
	if (event->code == refused)
		return false;
	if (event->code == NAE_MSR && event->info1 == NAE_MSR_READ) {
		event->rax = (u32)msrs[event->rcx % MSRS];
		event->rdx = msrs[event->rcx % MSRS] >> 32;
	}
	return true;
}

u8 *ghcb_share_page(u64 gpa)
{
	return refused == GHCB_MSR_PSC_REQ ? NULL : (u8 *)gpa;
}

_Noreturn void ghcb_terminate(enum svsm_termination reason)
{
	printf("terminated %d\n", reason);
	fflush(stdout);
	exit(0);
}

void console_line(struct vcpu *vcpu, const char *format, ...)
{
	(void)vcpu;
	(void)format;
}

static u32 *doorbell_word(struct vcpu *vcpu, u64 offset)
{
	return (u32 *)(void *)(vcpu->doorbell + offset % PAGE_SIZE / 4 * 4);
}

static void command_nae(void)
{
	for (u32 i = 0; i < event_count; i++)
		printf("%" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 ";", events[i].code, events[i].info1,
		       events[i].info2, events[i].rax, events[i].rcx, events[i].rdx);
	putchar('\n');
	event_count = 0;
}

static void command_inbox(struct vcpu *vcpu)
{
	printf("%x", vcpu->inbox.nmi);
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		printf(" %x", vcpu->inbox.irr[i]);
	putchar('\n');
}

/* xorshift64*: the same steps for the same seed everywhere. */
static u64 random_state;

static u64 random64(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545F4914F6CDD1Dull;
}

static u32 below(u32 limit)
{
	return (u32)(random64() >> 33) % limit;
}

/* Words of the page that matter, and some that do not, get bits set, bits cleared, or all of them anew. */
static void hostile_page(struct vcpu *vcpu)
{
	u32 *word = doorbell_word(vcpu, below(4) ? GHCB_DOORBELL_VMPL_FIRST + below(3 * 64) : below(PAGE_SIZE));

	switch (below(3)) {
	case 0:
		*word |= (u32)random64();
		break;
	case 1:
		*word = (u32)random64();
		break;
	default:
		*word = below(256) | (below(2) ? GHCB_DOORBELL_STATUS_LEVEL : 0) | (below(2) ? GHCB_DOORBELL_STATUS_MULTIPLE : 0);
	}
	/* A machine check, which the SVSM cannot verify, would end it. */
	vcpu->doorbell[GHCB_DOORBELL_FLAGS] &= (u8)~GHCB_DOORBELL_FLAG_MC;
	vcpu->doorbell[GHCB_DOORBELL_VMPL_EVENTS] |= below(2) ? 0xFF : 0;
	vcpu->doorbell[GHCB_DOORBELL_VECTOR] = below(2) ? SVSM_VECTOR_TIMER : (u8)random64();
}

/* What a run of the guest leaves in its VMSA: interrupts taken or not, another VMSA altogether at times. */
static void hostile_guest(struct vcpu *vcpu, struct vmsa *vmsa)
{
	if (below(2))
		vmsa->event_inj = 0;
	if (below(2))
		vmsa->vintr_ctrl &= ~VMSA_VINTR_IRQ;
	if (below(4) == 0)
		vmsa->rflags ^= BIT(9);
	if (below(32) == 0) {
		vmsa->event_inj = random64();
		vmsa->vintr_ctrl = random64();
		vmsa->guest_exit_int_info = random64();
	}
	if (below(3) == 0)
		guest_write64(vcpu->caa_gpa, random64());
	if (below(3) == 0)
		guest_write8(vcpu->caa_gpa + SVSM_CAA_NO_EOI_REQUIRED, 0);
}

static void hostile_call(struct vcpu *vcpu)
{
	static const u32 write_registers[] = { 0x808, 0x80B, 0x80B, 0x80B, 0x830, 0x83F, 0x83F, 0x832, 0x838, 0x83E };
	struct svsm_request request = { .protocol = SVSM_PROTOCOL_APIC };

	switch (below(4)) {
	case 0:
		request.call = SVSM_APIC_CONFIGURE_VECTOR;
		request.rcx = below(0x400);
		break;
	case 1:
		request.call = SVSM_APIC_READ_REGISTER;
		request.rcx = 0x800 + below(0x48);
		break;
	case 2:
		request.call = SVSM_APIC_WRITE_REGISTER;
		request.rcx = write_registers[below(sizeof(write_registers) / sizeof(write_registers[0]))];
		request.rdx = request.rcx == 0x80B ? 0 : random64() & (below(2) ? 0xFF : 0xFFFFFFFF000C4CFFull);
		break;
	default:
		request.call = SVSM_APIC_QUERY_FEATURES + below(6);
		request.rcx = random64() >> below(64);
		request.rdx = random64() >> below(64);
		if (request.call == SVSM_APIC_CONFIGURE && request.rcx < SVSM_APIC_CONFIGURE_REGISTER)
			request.rcx = SVSM_APIC_CONFIGURE_REGISTER; /* emulation is to last */
	}
	protocol_dispatch(vcpu, &request);
}

static void require(bool truth, const char *what)
{
	if (truth)
		return;
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

static void check_lapic(const struct lapic *lapic)
{
	require(!(lapic->classes & 1), "class 0 is in service");
	for (u32 class = 1; class < LAPIC_CLASSES; class++)
		require(!(lapic->classes & BIT(class)) || lapic->isr[class] >> 4 == class,
			"a vector in service under another class");
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++) {
		require(!(lapic->host_tmr[i] & ~lapic->tmr[i]), "level-triggered for the hypervisor only");
		require(!lapic->host_eoi[i], "an EOI that the hypervisor was not told");
	}
	require(!lapic->lazy_eoi || lapic->classes, "a lazy EOI with nothing in service");
	require(!(lapic->injected && lapic->queued), "two interrupts under way");
}

static void command_fuzz(u64 seed, u64 steps)
{
	struct vcpu *vcpu = &vcpu_areas[0].vcpu;
	struct vmsa *vmsa = guest_vmsa(vcpu->vmsa_gpa);

	random_state = seed * 2 + 1;
	while (steps--) {
		if (below(2))
			hostile_page(vcpu);
		if (below(2))
			hostile_guest(vcpu, vmsa);
		if (below(2))
			hostile_call(vcpu);
		if (below(16) == 0)
			alternate_forget_caa(vcpu);
		lapic_resume_event(&vcpu->lapic, vmsa);
		alternate_present(vcpu, vmsa);
		check_lapic(&vcpu->lapic);
		event_count = 0;
	}
	puts("ok");
}

bool alternate_command(const char *name)
{
	struct vcpu *vcpu;

	if (!strcmp(name, "alternate")) {
		vcpu = vcpu_argument();
		vcpu->svsm->hv_features = number();
		vcpu->svsm->boot.guest_features = BIT(4);
		vcpu->svsm->apic_registrations = 1;
		puts(alternate_init(vcpu) ? "ok" : "refused");
	} else if (!strcmp(name, "faults")) {
		struct svsm_boot *boot = &vcpu_areas[0].vcpu.svsm->boot;

		boot->faults = (u32)number();
		boot->fault_every = (u32)number();
		boot->fault_after = (u32)number();
		boot->fault_register = (u32)number();
		boot->fault_result = number();
		boot->fault_call = number();
		memset(vcpu_areas[0].vcpu.svsm->fault_occasions, 0, sizeof(vcpu_areas[0].vcpu.svsm->fault_occasions));
		puts("ok");
	} else if (!strcmp(name, "present")) {
		vcpu = vcpu_argument();
		alternate_present(vcpu, guest_vmsa(vcpu->vmsa_gpa));
		puts("ok");
	} else if (!strcmp(name, "resume")) {
		vcpu = vcpu_argument();
		lapic_resume_event(&vcpu->lapic, guest_vmsa(vcpu->vmsa_gpa));
		puts("ok");
	} else if (!strcmp(name, "doorbell")) {
		u32 *word;

		vcpu = vcpu_argument();
		word = doorbell_word(vcpu, number());
		number_if_any(word);
		printf("%x\n", *word);
	} else if (!strcmp(name, "inbox")) {
		command_inbox(vcpu_argument());
	} else if (!strcmp(name, "refuse")) {
		refused = number();
		puts("ok");
	} else if (!strcmp(name, "msr")) {
		u64 msr = number() % MSRS;

		msrs[msr] = number();
		puts("ok");
	} else if (!strcmp(name, "nae")) {
		command_nae();
	} else if (!strcmp(name, "fuzz")) {
		u64 seed = number();

		command_fuzz(seed, number());
	} else {
		return false;
	}
	return true;
}
