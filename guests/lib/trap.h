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

/* What a guest does at exceptions. */
struct trap_hooks {
	/*
	 * Called first for each exception. Returns true if it handled the exception: the interrupted code continues as the
	 * frame specifies. NULL: none.
	 */
	bool (*exception)(struct trap_frame *frame);
	/* Called for an exception that neither this hook nor TRY() handled, before protect() returns. */
	void (*unexpected)(u64 vector, u64 error, u64 rip);
};

/* The last exception. `vector` is NO_TRAP when the instruction of TRY() raised none. */
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
extern volatile u64 interrupts[256];    /* interrupts handled so far, by vector */
extern volatile u64 interrupted_at;     /* RIP of the code that the last one interrupted */
extern void (*on_interrupt)(u8 vector); /* called for each interrupt, with interrupts off; NULL: nothing is called */
void interrupts_forget(void);           /* every counter is 0 again */

/* Runs an instruction that may trap and returns the vector. Clobbers R11. */
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

void traps_setup(const struct trap_hooks *hooks); /* they must stay valid */
void trap_as_interrupt(u8 vector, bool on); /* handle the vector as an interrupt without an error code */
void trap_set_ist(u8 vector, u8 ist);
void traps_set_ist1(u64 top);
void trap_record(const struct trap_frame *frame); /* into `trap` */

/*
 * Calls `function`. Returns when it returns, or when an unexpected exception or trap_give_up() ends it; interrupts are
 * off in that case. A protected function may itself call protect().
 */
void protect(void (*function)(u64 argument), u64 argument);
void trap_give_up(struct trap_frame *frame);
/* The function of protect() ends when the handler of the current interrupt returns. */
void trap_give_up_after_interrupt(void);

#endif
