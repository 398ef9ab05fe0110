/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions and interrupts. */
#ifndef GUEST_TRAP_H
#define GUEST_TRAP_H

#include "types.h"

#define VECTOR_NMI 2

struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* What the last exception looked like. `vector` is NO_TRAP when TRY() met none. */
#define NO_TRAP (~0ull)
struct trap {
	u64 resume;
	u64 start;
	u64 vector;
	u64 error;
	u64 rip, cs, rflags, rsp, ss; /* of the interrupted code */
	u64 frame;                    /* address of the error code on the handler's stack */
	u64 handler_cs, handler_rflags;
};
extern volatile struct trap trap;
extern volatile u64 interrupts[256];    /* taken, by vector */
extern void (*on_interrupt)(u8 vector); /* called for each, with interrupts off */
/* Called for each exception first: true if it is done with, and the interrupted code goes on as the frame says. */
extern bool (*on_exception)(struct trap_frame *frame);

/* Run an instruction that may trap; the answer is the vector. Clobbers R11. */
#define TRY(instruction, outputs, ...)                                                                            \
	({                                                                                                        \
		trap.vector = NO_TRAP;                                                                            \
		__asm__ volatile("lea 9f(%%rip), %%r11; mov %%r11, trap; lea 8f(%%rip), %%r11; mov %%r11, trap + 8\n" \
				 "8: " instruction "\n9:"                                                         \
				 : outputs                                                                        \
				 : __VA_ARGS__                                                                    \
				 : "r11", "memory", "cc");                                                        \
		trap.resume = 0;                                                                                  \
		trap.vector;                                                                                      \
	})
#define OUT(...) __VA_ARGS__

void traps_setup(void);
void trap_as_interrupt(u8 vector, bool on); /* an interrupt, without error code, whatever the vector */
void trap_set_ist(u8 vector, u8 ist);
void traps_set_ist1(u64 top);
void trap_record(const struct trap_frame *frame); /* into `trap` */
void trap_return_to(struct trap_frame *frame, u64 rip, u64 rsp);

/* Returns also when an exception that nobody expects, or trap_give_up(), ends `function`; interrupts are off then. */
void protect(void (*function)(void));
void trap_give_up(struct trap_frame *frame);
/* The interrupt that is being handled ends `function` of protect() when its handler returns. */
void trap_give_up_after_interrupt(void);

/* A guest's own: an exception that nobody expects. */
void unexpected_exception(u64 vector, u64 error, u64 rip);

#endif
