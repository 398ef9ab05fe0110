/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log ring: see record.h for the protocol with its reader. */
#include "bytes.h"
#include "machine.h"
#include "x86.h"

bool ring_open(struct machine *machine)
{
	u64 capacity = (machine->config->ring_size - sizeof(struct record_ring)) / sizeof(struct record);

	while (capacity & (capacity - 1))
		capacity &= capacity - 1;
	machine->ring = (struct record_ring *)machine->config->ring_base;
	machine->records = (struct record *)(machine->config->ring_base + sizeof(struct record_ring));
	if (machine->ring->magic == RECORD_MAGIC)
		return false;
	machine->ring->version = RECORD_VERSION;
	machine->ring->capacity = (u32)capacity;
	__atomic_store_n(&machine->ring->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
	return true;
}

static void ring_doorbell(struct machine *machine)
{
	if (!__atomic_load_n(&machine->ring->armed, __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&machine->ring->armed, 0, __ATOMIC_RELEASE);
	outb((u16)machine->config->doorbell_port, '!');
}

/* A full ring waits for its reader; false if the reader does not read in time. */
static bool wait_for_room(struct machine *machine)
{
	struct record_ring *ring = machine->ring;
	u64 start = clock_ns(machine);

	while (ring->head - (machine->ring_tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) >= ring->capacity) {
		ring_doorbell(machine);
		if (clock_ns(machine) - start > RECORD_WAIT_NS)
			return false;
		__asm__ volatile("pause");
	}
	return true;
}

u64 ring_write(struct machine *machine, struct record *record)
{
	struct record_ring *ring = machine->ring;
	struct record *slot;

	if (ring->head - machine->ring_tail >= ring->capacity && !wait_for_room(machine)) {
		ring->lost++;
		return 0;
	}
	record->time_ns = clock_ns(machine);
	record->seq = ring->head + 1;
	record->check = record_check(record);

	slot = &machine->records[ring->head & (ring->capacity - 1)];
	slot->seq = 0;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	memcpy((u8 *)slot + 8, (const u8 *)record + 8, sizeof(*record) - 8);
	__atomic_store_n(&slot->seq, record->seq, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->head, record->seq, __ATOMIC_RELEASE);
	ring_doorbell(machine);
	return record->seq;
}
