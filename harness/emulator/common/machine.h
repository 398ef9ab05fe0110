/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State that both halves use: QEMU's machine with its clock and RAM, the run's configuration, and the log ring.
 */
#ifndef SNP_MACHINE_H
#define SNP_MACHINE_H

#include "config.h"
#include "record.h"
#include "types.h"

#define NO_GPA   (~0ull) /* no guest-physical address */
#define FOUR_GIB 0x100000000ull

/* Every exit uses this, so it is small. */
struct machine {
	const struct host_config *config;
	struct record_ring *ring;
	struct record *records;
	struct record_account *account;
	u64 capacity;  /* of the ring */
	u64 ring_tail; /* the reader's position when last read */
	u64 tsc_start;
	u64 tsc_to_ns; /* 32.32 fixed point */
	u64 ns_to_tsc; /* 32.32 fixed point */
	u64 tsc_khz;
	u64 allocated; /* next free physical address of the emulator's RAM */
	struct record_key log_key;
};

static inline _Noreturn void machine_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* clock.c */
void clock_calibrate(struct machine *machine);
u64 clock_ns(const struct machine *machine); /* since the start of the emulator */

/* ring.c: see record.h for the protocol with the reader. */
bool ring_open(struct machine *machine); /* false when it was open before this start of the emulator */
/* Fills seq, time and check. Returns seq, 0 if the record was dropped. */
u64 ring_write(struct machine *machine, struct record *record);
void ring_gate(struct machine *machine); /* waits while the harness has the gate closed */
static inline bool ring_gate_asked(const struct machine *machine)
{
	return __atomic_load_n(&machine->ring->gate, __ATOMIC_ACQUIRE) == RECORD_GATE_ASKED;
}

#endif
