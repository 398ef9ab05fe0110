/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to GPAs without memory: the APIC page and QEMU's devices. */
#include "apic.h"
#include "cpu.h"
#include "host.h"
#include "insn.h"

#define FOUR_GIB       0x100000000ull
#define ROM_WINDOW     0x1000000ull    /* below 4 GiB: the ROM has more in it than the firmware */
#define PHYSICAL_LIMIT 0x8000000000ull /* what the host maps */

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

static bool is_apic_page(struct vcpu *vcpu, u64 gpa)
{
	u64 base = vcpu->host->config->apic == CONFIG_APIC_QEMU ? APIC_DEFAULT_BASE : vapic_base(&vcpu->apic) & APIC_BASE_ADDRESS;

	return (gpa & ~(PAGE_SIZE - 1)) == base;
}

/* What the guest must not reach: the host's own memory and image, and what is not a bus address. */
static bool is_hidden(struct host *host, u64 gpa, u64 size)
{
	const struct host_config *config = host->config;

	return gpa + size > PHYSICAL_LIMIT || overlaps(gpa, size, config->host_base, config->host_size) ||
	       overlaps(gpa, size, config->ring_base, config->ring_size) ||
	       overlaps(gpa, size, FOUR_GIB - ROM_WINDOW, ROM_WINDOW) || memory_region(host, gpa);
}

static u64 device_read(u64 gpa, u32 size)
{
	switch (size) {
	case 1: return *(volatile u8 *)gpa;
	case 2: return *(volatile u16 *)gpa;
	case 4: return *(volatile u32 *)gpa;
	default: return *(volatile u64 *)gpa;
	}
}

static void device_write(u64 gpa, u32 size, u64 value)
{
	switch (size) {
	case 1: *(volatile u8 *)gpa = (u8)value; break;
	case 2: *(volatile u16 *)gpa = (u16)value; break;
	case 4: *(volatile u32 *)gpa = (u32)value; break;
	default: *(volatile u64 *)gpa = value; break;
	}
}

bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc)
{
	if (is_apic_page(vcpu, gpa) && (gpa & (PAGE_SIZE - 1)) + size <= PAGE_SIZE)
		return apic_mmio(vcpu, gpa, size, write, value, pc) != VAPIC_NOT_CLAIMED;
	if (is_hidden(vcpu->host, gpa, size)) {
		if (!write)
			*value = ~0ull;
		return false;
	}
	if (write)
		device_write(gpa, size, *value);
	else
		*value = device_read(gpa, size);
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_MMIO, .rip = pc, .address = gpa, .value = *value, .size = (u8)size,
						 .path = RECORD_PATH_MMIO, .flags = write ? RECORD_WRITE : 0 });
	return true;
}

static u64 register_value(struct vcpu *vcpu, const struct insn *insn)
{
	u64 value = guest_gpr(vcpu, insn->reg);

	return insn->high_byte ? value >> 8 : value;
}

static void set_register(struct vcpu *vcpu, const struct insn *insn, u64 value)
{
	u64 old = guest_gpr(vcpu, insn->reg);

	if (insn->high_byte)
		value = (old & ~0xFF00ull) | (value & 0xFF) << 8;
	else if (insn->register_size == 1)
		value = (old & ~0xFFull) | (value & 0xFF);
	else if (insn->register_size == 2)
		value = (old & ~0xFFFFull) | (value & 0xFFFF);
	else if (insn->register_size == 4)
		value = (u32)value;
	guest_set_gpr(vcpu, insn->reg, value);
}

static u64 sign_extend(u64 value, u32 size)
{
	u32 shift = 64 - 8 * size;

	return (u64)((i64)(value << shift) >> shift);
}

static u64 truncate(u64 value, u32 size) { return size == 8 ? value : value & (BIT(8 * size) - 1); }

/* A plain guest's access to the APIC page: the host carries out the instruction. */
static void emulate(struct vcpu *vcpu, u64 gpa)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(vcpu, code, sizeof(code));
	u64 pc = guest_pc(vcpu), value = 0, stored;
	struct insn insn;

	if (!insn_decode(code, available, guest_mode_bits(vcpu), &insn))
		host_stop(vcpu, RECORD_END_INSTRUCTION, *(a64 *)code, gpa);
	switch (insn.kind) {
	case INSN_MOV_LOAD:
	case INSN_MOVZX:
	case INSN_MOVSX:
		mmio_access(vcpu, gpa, insn.operand_size, false, &value, pc);
		value = truncate(value, insn.operand_size);
		set_register(vcpu, &insn, insn.kind == INSN_MOVSX ? sign_extend(value, insn.operand_size) : value);
		break;
	case INSN_MOV_STORE:
	case INSN_MOV_STORE_IMM:
		value = insn.kind == INSN_MOV_STORE ? register_value(vcpu, &insn) : insn.immediate;
		value = truncate(value, insn.operand_size);
		mmio_access(vcpu, gpa, insn.operand_size, true, &value, pc);
		break;
	case INSN_XCHG:
		stored = truncate(register_value(vcpu, &insn), insn.operand_size);
		mmio_access(vcpu, gpa, insn.operand_size, false, &value, pc);
		mmio_access(vcpu, gpa, insn.operand_size, true, &stored, pc);
		set_register(vcpu, &insn, truncate(value, insn.operand_size));
		break;
	default:
		host_stop(vcpu, RECORD_END_INSTRUCTION, *(a64 *)code, gpa);
	}
	guest_skip(vcpu, insn.length);
}

/* The guest may use the device without the host: map it where nothing of ours is, else a page of ones. */
static void map_device(struct vcpu *vcpu, u64 gpa)
{
	u64 page = gpa & ~(PAGE_SIZE - 1);
	u64 hpa = is_hidden(vcpu->host, page, PAGE_SIZE) ? vcpu->host->scratch_page : page;

	npt_map(vcpu->host, vcpu->vmpl, false, page, hpa, false, NPT_RWX);
}

void mmio_exit(struct vcpu *vcpu)
{
	const struct vmcb *page = vmcb(vcpu);
	u64 gpa = page->control.exit_info2 & ~vcpu->host->c_bit;

	/* KVM cannot emulate it, and no #VC handler is there yet: the run ends there on a real host as well. */
	if (vcpu->host->sev && npt_root(vcpu) == (u64)vcpu->host->npt[vcpu->vmpl].unpaged)
		host_stop(vcpu, RECORD_END_PRIVATE_MMIO, gpa, page->control.exit_info1);
	if (page->control.exit_info2 & vcpu->host->c_bit) {
		rmp_violation(vcpu, page->control.exit_info2, 0, page->control.exit_info1, RECORD_VIOLATION_MMIO);
		event_vc(vcpu, SVM_EXIT_NPF);
		return;
	}
	if (is_apic_page(vcpu, gpa)) {
		if (vcpu->host->sev)
			event_vc(vcpu, SVM_EXIT_NPF);
		else
			emulate(vcpu, gpa);
	} else if (vc_on(vcpu, CONFIG_VC_MMIO)) {
		event_vc(vcpu, SVM_EXIT_NPF);
	} else {
		map_device(vcpu, gpa);
	}
}
