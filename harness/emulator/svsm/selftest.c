/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "selftest.h"

#include "console.h"
#include "ghcb_call.h"
#include "hardware.h"
#include "rmp.h"
#include "sev.h"
#include "uart.h"
#include "x86.h"

/* isa-debug-exit, and what COCONUT writes to it (kernel/src/testing.rs, QEMUExitValue). */
#define EXIT_PORT    0xF4
#define EXIT_SUCCESS 0x10
#define EXIT_FAIL    0x11

/* COM4: questions to the host, a byte each (COCONUT scripts/test-in-svsm.sh). */
#define COM4              0x2E8
#define QUESTION_LAUNCH_MEASUREMENT 1
#define MEASUREMENT_SIZE  48
#define ANSWER_POLLS      1000000

#define TESTS 7

/* A page of the SVSM's own that nothing uses: of the last vCPU. */
static u64 spare_page(void) { return (u64)vcpu_areas[SVSM_VCPUS_MAX - 1].doorbell; }

static bool test_memory_map(struct vcpu *vcpu)
{
	const struct svsm *svsm = vcpu->svsm;

	return memory_is_guest(&svsm->memory, 0x100000, PAGE_SIZE) && !memory_is_guest(&svsm->memory, 0x100000, 0) &&
	       !memory_is_guest(&svsm->memory, svsm->boot.base, PAGE_SIZE) && !memory_is_writable(MEMORY_ISA_START, 8);
}

static bool test_registry(struct vcpu *vcpu)
{
	struct vmsa_entry entry = { .vmsa_gpa = 0x3000, .caa_gpa = 0x4000, .vcpu = 1 };
	struct vmsa_registry *registry = &vcpu->svsm->vmsas;
	bool ok = registry_add(registry, entry) == REGISTRY_OK && registry_add(registry, entry) == REGISTRY_CONFLICT &&
		  registry_has_vmsa(registry, 0x2000, 2 * PAGE_SIZE) && !registry_has_vmsa(registry, 0x4000, PAGE_SIZE);

	registry_remove(registry, entry.vmsa_gpa);
	return ok && !registry_find(registry, entry.vmsa_gpa);
}

static bool test_pvalidate(struct vcpu *vcpu)
{
	u64 gpa = spare_page(), value;

	(void)vcpu;
	return hardware_pvalidate(gpa, PAGE_4K, true) == SEV_FAIL_UNCHANGED &&
	       hardware_pvalidate(gpa, PAGE_4K, false) == SEV_SUCCESS && !guest_read64(gpa, &value) &&
	       hardware_pvalidate(gpa, PAGE_4K, true) == SEV_SUCCESS && guest_read64(gpa, &value);
}

static bool test_rmpadjust(struct vcpu *vcpu)
{
	u32 vmpl = vcpu->svsm->boot.guest_vmpl;

	return rmp_grant(spare_page(), PAGE_4K, vmpl) == SEV_SUCCESS && rmp_revoke(spare_page(), PAGE_4K, vmpl) == SEV_SUCCESS;
}

#define UNMAPPED 0x20000000000ull /* behind both views */
#define NO_MEMORY 0x4000000000ull  /* between guest RAM and the SVSM */

/* Of `count` operations `done` succeed, and the next one has this result. */
static bool ends(const struct sev_rmp_operation *first, u32 count, u32 done, u32 result)
{
	u32 succeeded;

	return hardware_rmp_operations(first, count, &succeeded) == result && succeeded == done;
}

#define RUNS(done, result, ...)                                                                      \
	ends((const struct sev_rmp_operation[]){ __VA_ARGS__ },                                      \
	     sizeof((const struct sev_rmp_operation[]){ __VA_ARGS__ }) / sizeof(struct sev_rmp_operation), done, result)
#define RESCIND(gpa) { (gpa), 0 }
#define VALIDATE(gpa) { (gpa), 1 }
#define VALIDATE_ANYWAY(gpa) { (gpa) | SEV_RMP_OPERATION_IGNORE_CF, 1 }
#define ADJUST(gpa, vmpl) { (gpa) | SEV_RMP_OPERATION_RMPADJUST, (vmpl) }
#define LARGE(gpa) ((gpa) | SEV_RMP_OPERATION_2M)

/* `fresh`: 2 MiB of guest RAM that nobody has used: the hypervisor has to assign them, and to split them. */
static bool runs_operations(u64 page, u64 fresh)
{
	return RUNS(5, SEV_FAIL_UNCHANGED, ADJUST(page, 3), RESCIND(page), VALIDATE(page), VALIDATE_ANYWAY(page), ADJUST(page, 1),
		    VALIDATE(page), RESCIND(page)) &&
	       RUNS(1, SEV_FAIL_INPUT, RESCIND(page), ADJUST(page, 1), VALIDATE(page)) &&
	       RUNS(1, SEV_FAIL_PERMISSION, VALIDATE(page), ADJUST(page, 0)) &&
	       RUNS(1, SEV_FAIL_INPUT, ADJUST(page, 1), VALIDATE(NO_MEMORY)) &&
	       RUNS(2, SEV_FAIL_INPUT, ADJUST(page, 1), ADJUST(page, 2), VALIDATE(UNMAPPED)) &&
	       RUNS(2, SEV_FAIL_SIZEMISMATCH, VALIDATE(LARGE(fresh)), VALIDATE_ANYWAY(fresh + PAGE_SIZE), RESCIND(LARGE(fresh)));
}

static bool test_rmp_batch(struct vcpu *vcpu)
{
	bool ok = runs_operations(spare_page(), 2 * PAGE_SIZE_2M);

	(void)vcpu;
	hardware_use_batches(false);
	ok = ok && runs_operations(spare_page(), 3 * PAGE_SIZE_2M);
	hardware_use_batches(true);
	return ok;
}

static bool test_vcpus(struct vcpu *vcpu)
{
	for (u32 i = 0; i < vcpu->svsm->vcpus; i++) {
		if (!__atomic_load_n(&vcpu_areas[i].vcpu.online, __ATOMIC_ACQUIRE))
			return false;
	}
	return true;
}

static bool read_answer(struct vcpu *vcpu, u64 *value)
{
	for (u32 i = 0; i < ANSWER_POLLS; i++) {
		u64 status = 0;

		if (!ghcb_port(vcpu, COM4 + UART_LINE_STATUS, NAE_IOIO_SIZE_8 | NAE_IOIO_IN, &status))
			return false;
		if (status & UART_DATA_READY)
			return ghcb_port(vcpu, COM4 + UART_DATA, NAE_IOIO_SIZE_8 | NAE_IOIO_IN, value);
	}
	return false;
}

/* The reference SVSM has no attestation, and cannot say what is right. */
static bool test_launch_measurement(struct vcpu *vcpu)
{
	u64 question = QUESTION_LAUNCH_MEASUREMENT, bits = 0;

	if (!ghcb_port(vcpu, COM4 + UART_DATA, NAE_IOIO_SIZE_8, &question))
		return false;
	for (u32 i = 0; i < MEASUREMENT_SIZE; i++) {
		u64 value = 0;

		if (!read_answer(vcpu, &value))
			return false;
		bits |= value & 0xFF;
	}
	return bits != 0;
}

static bool run(struct vcpu *vcpu, const char *name, bool (*test)(struct vcpu *vcpu))
{
	bool ok;

	console_line(vcpu, "test selftest::%s ...", name);
	ok = test(vcpu);
	console_line(vcpu, "test selftest::%s ... %s", name, ok ? "ok" : "FAILED");
	return ok;
}

_Noreturn void selftest(struct vcpu *vcpu)
{
	u64 status;
	bool ok;

	console_line(vcpu, "running %u tests", TESTS);
	ok = run(vcpu, "memory_map", test_memory_map);
	ok &= run(vcpu, "registry", test_registry);
	ok &= run(vcpu, "pvalidate", test_pvalidate);
	ok &= run(vcpu, "rmpadjust", test_rmpadjust);
	ok &= run(vcpu, "rmp_batch", test_rmp_batch);
	ok &= run(vcpu, "vcpus", test_vcpus);
	ok &= run(vcpu, "launch_measurement", test_launch_measurement);
	if (ok)
		console_line(vcpu, "All tests passed!");
	status = ok ? EXIT_SUCCESS : EXIT_FAIL;
	ghcb_port(vcpu, EXIT_PORT, NAE_IOIO_SIZE_32, &status);
	for (;;)
		halt();
}
