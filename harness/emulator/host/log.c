/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log ring: see record.h for the protocol with its reader. */
#include "cpu.h"
#include "host.h"

bool log_open(struct host *host)
{
	u64 capacity = (host->config->ring_size - sizeof(struct record_ring)) / sizeof(struct record);

	while (capacity & (capacity - 1))
		capacity &= capacity - 1;
	host->ring = (struct record_ring *)host->config->ring_base;
	host->records = (struct record *)(host->config->ring_base + sizeof(struct record_ring));
	if (host->ring->magic == RECORD_MAGIC)
		return false;
	host->ring->version = RECORD_VERSION;
	host->ring->capacity = (u32)capacity;
	__atomic_store_n(&host->ring->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
	return true;
}

u64 now_ns(const struct host *host)
{
	return (u64)(((unsigned __int128)(rdtsc() - host->tsc_start) * host->tsc_to_ns) >> 32);
}

static void ring_doorbell(struct host *host)
{
	if (!__atomic_load_n(&host->ring->armed, __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&host->ring->armed, 0, __ATOMIC_RELEASE);
	outb((u16)host->config->doorbell_port, '!');
}

/* A full ring waits for its reader; false when the reader does not come. */
static bool wait_for_room(struct host *host)
{
	struct record_ring *ring = host->ring;
	u64 start = now_ns(host);

	while (ring->head - (host->ring_tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) >= ring->capacity) {
		ring_doorbell(host);
		if (now_ns(host) - start > RECORD_WAIT_NS)
			return false;
		__asm__ volatile("pause");
	}
	return true;
}

static u8 mode_flags(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &vmcb(vcpu)->save;
	u8 flags = 0;

	if (save->cr0 & CR0_PE)
		flags |= RECORD_CR0_PE;
	if (save->cr0 & CR0_PG)
		flags |= RECORD_CR0_PG;
	if (save->efer & EFER_LMA)
		flags |= RECORD_EFER_LMA;
	return flags | (u8)(save->cpl << RECORD_CPL_SHIFT);
}

void log_write(struct vcpu *vcpu, struct record record)
{
	struct host *host = vcpu->host;
	struct record_ring *ring = host->ring;
	struct record *slot;

	if (ring->head - host->ring_tail >= ring->capacity && !wait_for_room(host)) {
		ring->lost++;
		return;
	}
	record.time_ns = now_ns(host);
	record.vcpu = (u8)vcpu->index;
	record.vmpl = vcpu->vmpl;
	if (vmcb(vcpu))
		record.flags |= mode_flags(vcpu);
	record.seq = ring->head + 1;
	record.check = record_check(&record);

	slot = &host->records[ring->head & (ring->capacity - 1)];
	slot->seq = 0;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	memcpy((u8 *)slot + 8, (u8 *)&record + 8, sizeof(record) - 8);
	__atomic_store_n(&slot->seq, record.seq, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->head, record.seq, __ATOMIC_RELEASE);
	ring_doorbell(host);
}

void log_text(struct vcpu *vcpu, const char *text, u32 line)
{
	struct record record = { .kind = RECORD_TEXT, .aux = line };
	u8 *to = (u8 *)&record.rip;

	for (u32 i = 0; i < 32 && text[i]; i++)
		to[i] = (u8)text[i];
	log_write(vcpu, record);
}
