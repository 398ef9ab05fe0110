/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Normally the virtual APIC (vapic_registers.c) answers. With CONFIG_APIC_QEMU it is QEMU's APIC, and
 * interrupts reach the guest without the hypervisor: QEMU's trace events then see the same accesses.
 */
#include "apic_access.h"
#include "apic.h"
#include "bytes.h"
#include "catch.h"
#include "guard.h"
#include "ipi.h"
#include "physical_apic.h"
#include "x86.h"

#define REGISTER_STRIDE 0x10u

bool apic_is_enabled(struct vcpu *vcpu)
{
	return !vcpu->apic_virtual ? rdmsr(MSR_APIC_BASE) & APIC_BASE_EN : vapic_is_enabled(own_apic(vcpu));
}

/* Of an access by the VMPL that runs, to its own APIC. */
static void carry_out(struct vcpu *vcpu, const struct vapic_effect *effect)
{
	struct vapic *apic = own_apic(vcpu);

	vcpu->apic_dirty = true;
	if (effect->base_changed) { /* the page no longer shows a device but the APIC */
		hw_invalidate(vcpu->hv->hw, vapic_base(apic) & APIC_BASE_ADDRESS, false);
		hw_observe_apic_base(vcpu->cpu, vcpu->vmpl, vapic_base(apic));
	}
	if (effect->ipi)
		ipi_send(vcpu, effect->icr);
	if (!is_guest(vcpu)) /* devices know the guest's APIC only */
		return;
	if (effect->eoi && effect->eoi_level)
		physical_end_level(vcpu, effect->eoi_vector);
	if (vcpu != boot_vcpu(vcpu)) {
		if (effect->destination_changed || effect->base_changed)
			catch_mirror(vcpu);
		return;
	}
	/* The rest makes the processor's APIC like that of the boot vCPU. */
	if (effect->destination_changed || effect->base_changed) {
		physical_set_destination(vcpu);
		if (vapic_is_enabled(apic) && vapic_is_software_enabled(apic) && !has_alternate_guest(vcpu))
			physical_retry_dropped(vcpu);
	}
	if (effect->lint_changed || effect->base_changed)
		physical_mirror_pic(vcpu);
}

static void record_access(struct vcpu *vcpu, u16 kind, u8 path, u64 address, u32 size, bool write, u64 value, u64 base,
			  enum vapic_result result, u64 pc)
{
	static const u8 outcome[] = { RECORD_OK, RECORD_GP, RECORD_NOT_CLAIMED };
	u32 answers = hw_observe_answer(vcpu->cpu, path, address, write, &pc);

	hw_log(vcpu->cpu, (struct record){ .kind = kind, .rip = pc, .address = address, .value = value, .path = path,
					 .size = (u8)size, .outcome = outcome[result], .flags = write ? RECORD_WRITE : 0,
					 .extra = kind == RECORD_APIC_BASE ? base : 0, .aux = APIC_BASE_MODE(base) | answers });
}

static enum vapic_result qemu_mmio(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value)
{
	if (write && !guard_apic_write(vcpu, gpa, (gpa & (PAGE_SIZE - 1)) >> 4, *value))
		return VAPIC_OK;
	if (size == 4 && write)
		mmio_write32(gpa, (u32)*value);
	else if (size == 4)
		*value = mmio_read32(gpa);
	else if (!write)
		*value = 0;
	return VAPIC_OK;
}

static u64 page_of(u64 gpa) { return gpa & ~(PAGE_SIZE - 1); }

static u64 own_base(struct vcpu *vcpu) { return !vcpu->apic_virtual ? rdmsr(MSR_APIC_BASE) : vapic_base(own_apic(vcpu)); }

bool apic_owns_page(struct vcpu *vcpu, u64 gpa) { return hw_observe_is_apic_page(vcpu->cpu, gpa); }

/* The page of any vCPU's APIC must not be mapped: the others' page tables would show it as well. */
bool apic_needs_page(struct hypervisor *hv, u64 gpa)
{
	for (u32 i = 0; i < hv->vcpus * CONFIG_VMPLS; i++) {
		if (page_of(vapic_base(&hv->vcpu[i / CONFIG_VMPLS].apic[i % CONFIG_VMPLS]) & APIC_BASE_ADDRESS) == page_of(gpa))
			return true;
	}
	return page_of(gpa) == APIC_DEFAULT_BASE;
}

static u64 low_bytes(u64 value, u32 size) { return size < 8 ? value & (BIT(8 * size) - 1) : value; }

/* An access that no APIC answers. Of one that begins before the page, the record names the part inside. */
static void unclaimed(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 base, u64 pc)
{
	u32 before = apic_owns_page(vcpu, gpa) ? 0 : (u32)(PAGE_SIZE - gpa % PAGE_SIZE);

	if (!write)
		*value = low_bytes(~0ull, size);
	record_access(vcpu, RECORD_APIC, RECORD_PATH_MMIO, gpa + before, size - before, write,
		      low_bytes(*value >> 8 * before, size - before), base, VAPIC_NOT_CLAIMED, pc);
}

/*
 * The guest accesses the APIC page, or that at reset although its own is elsewhere. What crosses an edge of the page is
 * not for the APIC: KVM ignores it or leaves it undefined.
 */
enum vapic_result apic_mmio(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc)
{
	struct vapic_effect effect = { 0 };
	u64 base = own_base(vcpu);
	u64 page = vcpu->apic_virtual ? base & APIC_BASE_ADDRESS : APIC_DEFAULT_BASE; /* QEMU's does not move */
	u32 offset = gpa & (PAGE_SIZE - 1);
	enum vapic_result result;

	if (page_of(gpa) != page || offset + size > PAGE_SIZE) {
		unclaimed(vcpu, gpa, size, write, value, base, pc);
		return VAPIC_NOT_CLAIMED;
	}
	if (!vcpu->apic_virtual)
		result = qemu_mmio(vcpu, gpa, size, write, value);
	else if (write)
		result = vapic_mmio_write(own_apic(vcpu), offset, size, *value, now_ns(vcpu->hv), &effect);
	else
		result = vapic_mmio_read(own_apic(vcpu), offset, size, now_ns(vcpu->hv), value);
	if (!write && result == VAPIC_NOT_CLAIMED)
		*value = low_bytes(~0ull, size);
	carry_out(vcpu, &effect);
	record_access(vcpu, RECORD_APIC, RECORD_PATH_MMIO, gpa, size, write, *value, base, result, pc);
	return result;
}

static bool answers(struct vcpu *vcpu, u64 gpa)
{
	if (!vcpu->apic_virtual)
		return true;
	return page_of(gpa) == (own_base(vcpu) & APIC_BASE_ADDRESS) && vapic_is_enabled(own_apic(vcpu)) &&
	       !vapic_is_x2apic(own_apic(vcpu));
}

void apic_show(struct vcpu *vcpu, u64 gpa, u8 *page)
{
	bool claimed = answers(vcpu, gpa);

	memset(page, claimed ? 0 : 0xFF, PAGE_SIZE);
	for (u32 offset = 0; offset < PAGE_SIZE && claimed; offset += REGISTER_STRIDE) {
		u64 value = 0;

		if (vcpu->apic_virtual)
			vapic_mmio_read(own_apic(vcpu), offset, 4, now_ns(vcpu->hv), &value);
		else
			qemu_mmio(vcpu, page_of(gpa) + offset, 4, false, &value);
		*(a32 *)(page + offset) = (u32)value;
	}
}

void apic_shown(struct vcpu *vcpu, u64 gpa, u32 size, u64 value, u64 pc)
{
	record_access(vcpu, RECORD_APIC, RECORD_PATH_MMIO, gpa, size, false, value, own_base(vcpu),
		      answers(vcpu, gpa) ? VAPIC_OK : VAPIC_NOT_CLAIMED, pc);
}

bool apic_owns_msr(u32 msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE || (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

static enum vapic_result qemu_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value)
{
	if (write && msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST &&
	    !guard_apic_write(vcpu, msr, msr - MSR_X2APIC_FIRST, *value))
		return VAPIC_OK;
	bool ok = write ? msr_write_safe(msr, *value) : msr_read_safe(msr, value);

	return ok ? VAPIC_OK : VAPIC_GP;
}

static enum vapic_result virtual_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value, struct vapic_effect *effect)
{
	struct vapic *apic = own_apic(vcpu);
	u64 now = now_ns(vcpu->hv);

	if (msr == MSR_APIC_BASE && write)
		return vapic_write_base(apic, *value, effect);
	if (msr == MSR_APIC_BASE)
		*value = vapic_base(apic);
	else if (msr == MSR_TSC_DEADLINE && write) {
		u64 tsc = rdtsc() + hw_tsc_offset(vcpu->cpu);
		u64 wait = *value > tsc ? (u64)(((unsigned __int128)(*value - tsc) * vcpu->hv->machine->tsc_to_ns) >> 32) : 0;

		vapic_set_tsc_deadline(apic, *value, now + wait);
	} else if (msr == MSR_TSC_DEADLINE)
		*value = vapic_tsc_deadline(apic);
	else if (write)
		return vapic_msr_write(apic, msr, *value, now, effect);
	else
		return vapic_msr_read(apic, msr, now, value);
	return VAPIC_OK;
}

bool apic_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc)
{
	struct vapic_effect effect = { 0 };
	u64 base = own_base(vcpu);
	u16 kind = msr == MSR_APIC_BASE ? RECORD_APIC_BASE : RECORD_APIC;
	enum vapic_result result;

	result = !vcpu->apic_virtual ? qemu_msr(vcpu, msr, write, value) : virtual_msr(vcpu, msr, write, value, &effect);
	if (!write && result == VAPIC_GP)
		*value = 0;
	carry_out(vcpu, &effect);
	if (!vcpu->apic_virtual)
		hw_observe_apic_base(vcpu->cpu, vcpu->vmpl, own_base(vcpu));
	record_access(vcpu, kind, RECORD_PATH_MSR, msr, 8, write, *value, base, result, pc);
	return result == VAPIC_OK;
}

void apic_msr_not_made(struct vcpu *vcpu, u32 msr, bool write, u64 value, bool ok, u64 pc)
{
	u64 base = own_base(vcpu);
	u16 kind = msr == MSR_APIC_BASE ? RECORD_APIC_BASE : RECORD_APIC;

	if (kind == RECORD_APIC_BASE && !write) /* the mode is known from it */
		value = base;
	record_access(vcpu, kind, RECORD_PATH_MSR, msr, 8, write, value, base, ok ? VAPIC_OK : VAPIC_GP, pc);
}
