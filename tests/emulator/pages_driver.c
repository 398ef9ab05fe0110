/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the page states (harness/emulator/hypervisor/pages.c) above the rules of the RMP and a small model of
 * the rest of the hardware: one command a line, numbers in hexadecimal, one line of numbers as the answer. See
 * tests/emulator/test_pages.py for the commands.
 */
#include <setjmp.h>

#include "driver.h"
#include "ghcb.h"
#include "memory.h"
#include "pages.h"
#include "rmp.h"

#define GPA             0x10000000ull
#define SIZE            (2 * PAGE_SIZE_2M)
#define SPA             0x40000000ull

/* How an access or an instruction ended. */
enum outcome { DONE, NOT_VALIDATED, NO_MEMORY, STOPPED, FAILED };

static u8 memory[SIZE], states[SIZE / PAGE_SIZE];
static struct rmp_entry entries[SIZE / PAGE_SIZE];
static struct rmp rmp;
static struct hypervisor hv;
static struct host_config config;
static struct vcpu vcpu;
static struct hw_slot region = { .gpa = GPA, .size = SIZE, .spa = SPA, .shared_spa = SPA, .nested = states };
static jmp_buf end;
static u32 faults, violation; /* #NPFs of a command, and the last record of one: enum record_violation */

/* The access of the guest, which hw_retry() repeats. */
static struct {
	bool instruction; /* PVALIDATE */
	bool private;
	bool large;
	bool validate;
	u32 vmpl;
	u64 gpa;
} action;

static u8 state_of(u64 gpa) { return states[(gpa - GPA) / PAGE_SIZE] & (u8)~HW_UNMAPPED; }

struct hw_slot *memory_region(struct hypervisor *of, u64 gpa) { return of == &hv && gpa - GPA < SIZE ? &region : NULL; }
u8 *memory_page(const struct hw_slot *of, u64 gpa) { return memory + (hw_slot_spa(of, gpa, false) - SPA); }

enum hw_rmp_result hw_rmpupdate(struct hw *hw, u64 spa, const struct hw_rmp_entry *entry) { (void)hw; return rmp_update(&rmp, spa, entry); }
enum hw_rmp_result hw_psmash(struct hw *hw, u64 spa) { (void)hw; return rmp_psmash(&rmp, spa); }
bool hw_rmpread(struct hw *hw, u64 spa, struct hw_rmp_entry *entry) { (void)hw; return rmp_read(&rmp, spa, entry); }
void hw_invalidate(struct hw *hw, u64 gpa, bool large) { (void)hw; (void)gpa; (void)large; }
u64 hw_observe_pc(const struct hw_cpu *cpu) { (void)cpu; return 0; }
u32 hw_observe_rmp(struct hw *hw, u64 gpa) { (void)hw; return rmp_entry(&rmp, SPA + (gpa - GPA))->bits; }
void hw_stop(struct hw_cpu *cpu, enum record_end reason, u64 value, u64 extra)
{
	(void)cpu; (void)reason; (void)value; (void)extra;
	longjmp(end, STOPPED);
}

void hw_fail(struct hw_cpu *cpu, const char *text, u32 line)
{
	(void)cpu; (void)text; (void)line;
	longjmp(end, FAILED);
}

u64 hw_log(struct hw_cpu *cpu, struct record record)
{
	(void)cpu;
	if (record.kind == RECORD_RMP_VIOLATION)
		violation = record.aux;
	return 0;
}

enum psp_status hw_psp(struct hw *hw, const struct hw_psp_command *command)
{
	(void)hw;
	for (u64 gpa = command->gpa; gpa < command->gpa + command->size; gpa += PAGE_SIZE)
		rmp_entry(&rmp, SPA + (gpa - GPA))->bits |= RMP_VALIDATED;
	return PSP_SUCCESS;
}

static u64 npf(enum rmp_fault fault)
{
	return SVM_NPF_ENC | SVM_NPF_RMP | (action.instruction ? 0 : SVM_NPF_FINAL) | (fault == RMP_SIZE ? SVM_NPF_SIZEM : 0) |
	       (fault == RMP_VMPL ? SVM_NPF_VMPL : 0);
}

void hw_retry(struct hw_cpu *cpu, struct hw_exit *exit)
{
	struct rmp_owner owner = { .gpa = action.gpa, .asid = HW_ASID };
	u64 spa = SPA + (action.gpa - GPA);
	enum rmp_fault fault = RMP_OK;
	bool unchanged;
	u32 result;

	(void)cpu;
	exit->code = HW_EXIT_NONE;
	exit->info1 = SVM_NPF_FINAL;
	exit->info2 = action.gpa;
	if (action.gpa - GPA >= SIZE) {
		exit->code = SVM_EXIT_NPF;
	} else if (!action.instruction && (states[(action.gpa - GPA) / PAGE_SIZE] & HW_UNMAPPED)) {
		exit->code = SVM_EXIT_NPF;
	} else if (!action.private) {
		if (state_of(action.gpa) != HW_SHARED)
			exit->code = SVM_EXIT_NPF;
	} else {
		if (action.instruction)
			fault = rmp_validate(&rmp, spa, owner, action.large, action.validate, &result, &unchanged);
		else
			fault = rmp_check(&rmp, spa, owner, action.vmpl, 0, 0);
		if (fault == RMP_NOT_VALIDATED)
			longjmp(end, NOT_VALIDATED);
		if (fault) {
			exit->code = SVM_EXIT_NPF;
			exit->info1 = npf(fault);
		}
	}
	faults += exit->code == SVM_EXIT_NPF;
}

/* Outcome, then how many #NPFs there were << 8, then the violation recorded << 16. */
static u64 run(void)
{
	struct hw_exit exit;
	int outcome;

	faults = violation = 0;
	outcome = setjmp(end);
	if (!outcome) {
		hw_retry(NULL, &exit);
		while (exit.code == SVM_EXIT_NPF) {
			if (!pages_fault(&vcpu, &exit)) {
				outcome = NO_MEMORY;
				break;
			}
		}
	}
	return (u64)outcome | faults << 8 | violation << 16;
}

static void reset(void)
{
	memset(memory, 0, sizeof(memory));
	memset(states, 0, sizeof(states));
	memset(entries, 0, sizeof(entries));
	memset(&rmp, 0, sizeof(rmp));
	rmp_cover(&rmp, SPA, SIZE, entries);
	config.cbit = 51;
	config.shortcuts = 1;
	hv.config = &config;
	hv.regions = 1;
	vcpu.hv = &hv;
}

static u64 command(const char *name, const u64 *a)
{
	if (!strcmp(name, "shortcuts")) { /* on */
		config.shortcuts = (u32)a[0];
		return 0;
	}
	if (!strcmp(name, "access")) { /* gpa private vmpl */
		action = (typeof(action)){ .gpa = a[0], .private = a[1], .vmpl = (u32)a[2] };
		return run();
	}
	if (!strcmp(name, "pvalidate")) { /* gpa large validate */
		action = (typeof(action)){ .instruction = true, .private = true, .gpa = a[0], .large = a[1], .validate = a[2] };
		return run();
	}
	if (!strcmp(name, "change")) /* gpa operation large */
		return pages_change(&vcpu, a[0], (u32)a[1], a[2]);
	if (!strcmp(name, "launch"))
		return (pages_launch(&hv, PSP_PAGE_NORMAL, a[0], a[1], memory + (a[0] - GPA)), 0);
	if (!strcmp(name, "state"))
		return state_of(a[0]);
	if (!strcmp(name, "bits"))
		return entries[(a[0] - GPA) / PAGE_SIZE].bits;
	if (!strcmp(name, "get"))
		return memory[a[0] - GPA];
	if (!strcmp(name, "put"))
		return memory[a[0] - GPA] = (u8)a[1];
	if (!strcmp(name, "agree")) { /* private if and only if the RMP has it assigned */
		for (u32 i = 0; i < SIZE / PAGE_SIZE; i++)
			if ((state_of(GPA + i * PAGE_SIZE) == HW_PRIVATE) != (entries[i].bits & RMP_ASSIGNED))
				return 0;
		return 1;
	}
	reset();
	return 0;
}

static void answered(const char *name, const u64 *a)
{
	driver_answer(command(name, a));
}

int main(void)
{
	reset();
	return driver_serve(answered);
}
