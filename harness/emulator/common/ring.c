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
	machine->account = (struct record_account *)(machine->config->host_base + machine->config->host_size - PAGE_SIZE);
	machine->capacity = capacity;
	record_key_set(&machine->log_key, machine->config->log_key);
	if (machine->account->magic == RECORD_ACCOUNT_MAGIC)
		return false;
	machine->account->magic = RECORD_ACCOUNT_MAGIC;
	machine->ring->version = RECORD_VERSION;
	machine->ring->capacity = (u32)capacity;
	__atomic_store_n(&machine->ring->magic, RECORD_MAGIC, __ATOMIC_RELEASE);
	return true;
}

void ring_gate(struct machine *machine)
{
	u32 *gate = &machine->ring->gate;
	u32 asked = RECORD_GATE_ASKED;

	if (__atomic_load_n(gate, __ATOMIC_ACQUIRE) == RECORD_GATE_OPEN)
		return;
	/* The harness may have stopped QEMU meanwhile and opened the gate. */
	__atomic_compare_exchange_n(gate, &asked, RECORD_GATE_CLOSED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(gate, __ATOMIC_ACQUIRE) == RECORD_GATE_CLOSED)
		__asm__ volatile("pause");
}

static void ring_doorbell(struct machine *machine)
{
	if (!__atomic_load_n(&machine->ring->armed, __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&machine->ring->armed, 0, __ATOMIC_RELEASE);
	outb((u16)machine->config->doorbell_port, '!');
}

/*
 * A full ring waits for its reader; false if the reader does not read in time. The doorbell's stream has a reader, too:
 * once it is full, QEMU does not end the OUT until something of it was read. So the wait has few instructions, and little
 * time passes for the guest where instructions are counted.
 */
static bool wait_for_room(struct machine *machine)
{
	struct record_ring *ring = machine->ring;
	u64 start = clock_ns(machine);

	while (machine->account->count - (machine->ring_tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) >= machine->capacity) {
		outb((u16)machine->config->doorbell_port, '!');
		if (clock_ns(machine) - start > RECORD_WAIT_NS)
			return false;
	}
	return true;
}

u64 ring_write(struct machine *machine, struct record *record)
{
	struct record_ring *ring = machine->ring;
	struct record_account *account = machine->account;
	struct record *slot;

	if (account->count - machine->ring_tail >= machine->capacity && !wait_for_room(machine)) {
		account->lost++;
		ring->lost = account->lost;
		return 0;
	}
	record->time_ns = clock_ns(machine);
	record->seq = account->count + 1;
	record->check = record_check(record);
	account->digest[record->seq % RECORD_ACCOUNT_SLOTS] =
		record_digest(account->digest[account->count % RECORD_ACCOUNT_SLOTS], &machine->log_key, record);
	__atomic_store_n(&account->count, record->seq, __ATOMIC_RELEASE);

	slot = &machine->records[(record->seq - 1) & (machine->capacity - 1)];
	slot->seq = 0;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	memcpy((u8 *)slot + 8, (const u8 *)record + 8, sizeof(*record) - 8);
	__atomic_store_n(&slot->seq, record->seq, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->head, record->seq, __ATOMIC_RELEASE);
	ring_doorbell(machine);
	return record->seq;
}
