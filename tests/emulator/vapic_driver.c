/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the virtual local APIC: one command a line, numbers in hexadecimal, one line of
 * numbers as the answer. See tests/emulator/vapic.py for the commands.
 */
#include "driver.h"
#include "vapic.h"


static struct vapic apic;

static void answer_effect(enum vapic_result result, const struct vapic_effect *effect)
{
	printf("%x %x %x %x %x %llx %x %x %x %x\n", result, effect->eoi, effect->eoi_vector, effect->eoi_level,
	       effect->ipi, (unsigned long long)effect->icr, effect->base_changed, effect->timer_changed,
	       effect->destination_changed, effect->lint_changed);
}

static void answer_value(enum vapic_result result, u64 value)
{
	printf("%x %llx\n", result, (unsigned long long)value);
}

static void fail(const char *what, u64 step)
{
	fprintf(stderr, "invariant broken at step %llu: %s\n", (unsigned long long)step, what);
	abort();
}

/* xorshift64 */
static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Values that matter more often than chance has it. */
static u64 random_value(u64 *state)
{
	static const u64 chosen[] = { 0, 1, 0xff, 0x100, 0x1ff, 0x10000, 0x20020, 0x40030, 0x700, 0x400, 0xb, 0x3,
				      0xffffffff, 0xfee00900, 0xfee00d00, 0xfee00000, 0xfee00400, 0x44031, 0xc0030 };
	u64 number = next_random(state);

	switch (number & 3) {
	case 0:
		return chosen[(number >> 2) % (sizeof(chosen) / sizeof(chosen[0]))];
	case 1:
		return (number >> 8) & 0xffff;
	case 2:
		return (number >> 8) & 0xffffffff;
	default:
		return next_random(state);
	}
}

static void check_state(u64 step)
{
	int vector = vapic_pending(&apic);

	if (vector >= 0 && (vector & 0xf0) <= (vapic_tpr(&apic) & 0xf0))
		fail("an interrupt not above TPR is pending", step);
	if (vector >= 0 && !(apic.irr[vector / 32] & (1u << (vector % 32))))
		fail("the pending interrupt is not in IRR", step);
	if (vapic_is_x2apic(&apic) && !vapic_is_enabled(&apic))
		fail("x2APIC without EN", step);
	if (vapic_tsc_deadline(&apic) && vapic_timer_deadline(&apic) == ~0ull)
		fail("TSC deadline without a time", step);
}

static void refused_changes_nothing(enum vapic_result result, const struct vapic *before, u64 step)
{
	if (result != VAPIC_OK && memcmp(before, &apic, sizeof(apic)))
		fail("a refused access changed the state", step);
}

static void fuzz_step(u64 *state, u64 *now, u64 step)
{
	struct vapic_effect effect;
	struct vapic before;
	u64 number = next_random(state);
	u64 value = random_value(state);
	u32 offset = number >> 32 & 0x1fff;
	u32 size = 1u << (number >> 48 & 3);
	u64 read;
	int vector;

	if (number >> 60 & 1)
		offset &= ~0xfu;
	memcpy(&before, &apic, sizeof(before));
	switch (number % 16) {
	case 0:
		refused_changes_nothing(vapic_write_base(&apic, value, &effect), &before, step);
		break;
	case 1 ... 3:
		refused_changes_nothing(vapic_mmio_write(&apic, offset, size, value, *now, &effect), &before, step);
		break;
	case 4:
		refused_changes_nothing(vapic_mmio_read(&apic, offset, size, *now, &read), &before, step);
		break;
	case 5 ... 7:
		refused_changes_nothing(vapic_msr_write(&apic, 0x7f0 + offset % 0x130, value, *now, &effect), &before, step);
		break;
	case 8:
		refused_changes_nothing(vapic_msr_read(&apic, 0x7f0 + offset % 0x130, *now, &read), &before, step);
		break;
	case 9:
		vapic_set_tsc_deadline(&apic, value & 0xffff, *now + (value & 0xfff));
		break;
	case 10:
		vapic_set_tpr(&apic, (u8)value);
		break;
	case 11:
		vapic_post(&apic, (u8)value, value & 0x100);
		break;
	case 12:
		vector = vapic_pending(&apic);
		if (vector >= 0)
			vapic_accept(&apic, (u8)vector);
		break;
	case 13:
		vapic_match_destination(&apic, (u32)value, number >> 40 & 1);
		vapic_accepts_extint(&apic);
		break;
	case 14:
		*now += value & 0xffffffffffull;
		vapic_timer_run(&apic, *now);
		if (vapic_timer_deadline(&apic) <= *now)
			fail("the timer is still due after it was run", step);
		break;
	default:
		if ((number >> 52) % 64 == 0)
			vapic_init(&apic);
		break;
	}
	check_state(step);
}

/* The sum of the states makes two runs with one seed comparable. */
static u64 fuzz(u64 seed, u64 steps)
{
	struct vapic_config config = { .apic_id = (u32)seed & 0x1ff, .bsp = seed & 1, .x2apic = seed & 6,
				       .tsc_deadline = seed & 8, .phys_bits = 36 + (seed >> 4) % 17 };
	u64 state = seed * 0x9e3779b97f4a7c15ull | 1;
	u64 now = 0;
	u64 sum = 0;

	vapic_reset(&apic, &config);
	for (u64 step = 0; step < steps; step++) {
		fuzz_step(&state, &now, step);
		sum = sum * 31 + vapic_base(&apic) + vapic_timer_deadline(&apic) + apic.irr[step & 7] + apic.isr[step & 7];
	}
	return sum;
}

static void access_command(const char *name, const u64 *a)
{
	struct vapic_effect effect;
	enum vapic_result result;
	u64 value;

	if (!strcmp(name, "base")) {
		result = vapic_write_base(&apic, a[0], &effect);
		answer_effect(result, &effect);
	} else if (!strcmp(name, "mmio_read")) {
		result = vapic_mmio_read(&apic, (u32)a[0], (u32)a[1], a[2], &value);
		answer_value(result, value);
	} else if (!strcmp(name, "mmio_write")) {
		result = vapic_mmio_write(&apic, (u32)a[0], (u32)a[1], a[2], a[3], &effect);
		answer_effect(result, &effect);
	} else if (!strcmp(name, "msr_read")) {
		result = vapic_msr_read(&apic, (u32)a[0], a[1], &value);
		answer_value(result, value);
	} else if (!strcmp(name, "msr_write")) {
		result = vapic_msr_write(&apic, (u32)a[0], a[1], a[2], &effect);
		answer_effect(result, &effect);
	} else {
		fprintf(stderr, "unknown command %s\n", name);
		exit(2);
	}
}

static bool state_command(const char *name, const u64 *a)
{
	const struct vapic_config config = { .apic_id = (u32)a[0], .bsp = a[1], .x2apic = a[2], .tsc_deadline = a[3],
					     .phys_bits = (u32)a[4] };

	if (!strcmp(name, "reset")) {
		memset(&apic, 0xa5, sizeof(apic)); /* reset must not depend on what was there */
		vapic_reset(&apic, &config);
		driver_answer(0);
	} else if (!strcmp(name, "init")) {
		vapic_init(&apic);
		driver_answer(0);
	} else if (!strcmp(name, "state")) {
		printf("%llx %x %x\n", (unsigned long long)vapic_base(&apic), vapic_is_enabled(&apic), vapic_is_x2apic(&apic));
	} else if (!strcmp(name, "fuzz")) {
		driver_answer(fuzz(a[0], a[1]));
	} else {
		return false;
	}
	return true;
}

static bool interrupt_command(const char *name, const u64 *a)
{
	if (!strcmp(name, "post")) {
		driver_answer(vapic_post(&apic, (u8)a[0], a[1]));
	} else if (!strcmp(name, "pending")) {
		driver_answer((u64)(vapic_pending(&apic) + 1));
	} else if (!strcmp(name, "accept")) {
		vapic_accept(&apic, (u8)a[0]);
		driver_answer(0);
	} else if (!strcmp(name, "set_tpr")) {
		vapic_set_tpr(&apic, (u8)a[0]);
		driver_answer(0);
	} else if (!strcmp(name, "tpr")) {
		driver_answer(vapic_tpr(&apic));
	} else if (!strcmp(name, "extint")) {
		driver_answer(vapic_accepts_extint(&apic));
	} else if (!strcmp(name, "match")) {
		driver_answer(vapic_match_destination(&apic, (u32)a[0], a[1]));
	} else {
		return false;
	}
	return true;
}

/* What the hypervisor uses under Alternate Injection. */
static bool handover_command(const char *name, const u64 *a)
{
	u32 irr[APIC_VECTOR_WORDS] = { 0 }, isr[APIC_VECTOR_WORDS] = { 0 };

	if (!strcmp(name, "request_below")) {
		driver_answer((u64)(vapic_request_below(&apic, (int)a[0]) + 1));
	} else if (!strcmp(name, "is_level")) {
		driver_answer(vapic_is_level(&apic, (u8)a[0]));
	} else if (!strcmp(name, "withdraw")) {
		vapic_withdraw(&apic, (u8)a[0]);
		driver_answer(0);
	} else if (!strcmp(name, "restore")) {
		irr[a[0] / 32 & 7] = 1u << (a[0] % 32);
		isr[a[1] / 32 & 7] = 1u << (a[1] % 32);
		vapic_restore(&apic, irr, isr, (u8)a[2]);
		driver_answer(0);
	} else if (!strcmp(name, "force_x2apic")) {
		vapic_force_x2apic(&apic);
		driver_answer(0);
	} else if (!strcmp(name, "timer_event")) {
		driver_answer(vapic_timer_set_by_event(&apic, (u32)a[0], (u32)a[1], (u32)a[2], a[3]));
	} else {
		return false;
	}
	return true;
}

static bool timer_command(const char *name, const u64 *a)
{
	if (!strcmp(name, "timer_run")) {
		driver_answer(vapic_timer_run(&apic, a[0]));
	} else if (!strcmp(name, "deadline")) {
		driver_answer(vapic_timer_deadline(&apic));
	} else if (!strcmp(name, "tsc_deadline")) {
		driver_answer(vapic_tsc_deadline(&apic));
	} else if (!strcmp(name, "set_tsc_deadline")) {
		vapic_set_tsc_deadline(&apic, a[0], a[1]);
		driver_answer(0);
	} else {
		return false;
	}
	return true;
}

static void command(const char *name, const u64 *a)
{
	if (!state_command(name, a) && !interrupt_command(name, a) && !handover_command(name, a) && !timer_command(name, a))
		access_command(name, a);
}

int main(void)
{
	return driver_serve(command);
}
