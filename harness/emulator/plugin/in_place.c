/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin for QEMU's TCG: RDMSR of the GHCB MSR and of SEV_STATUS, by the guest of the emulated hardware, is answered
 * where it is executed, without #VMEXIT and VMRUN. Only an answer that is the same as the hardware's is given; in every
 * other state the instruction goes its usual way. What the answer depends on is a guest's registers and the emulator's own
 * memory: neither memory of the guest nor anything that it may write.
 */
#include "in_place.h"
#include "qemu_api.h"
#include "rflags.h"
#include "sev.h"
#include "view.h"

#define OPCODE_LENGTH 2 /* RDMSR: 0F 32, without a prefix */

int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static u64 view_address;     /* of struct view */
static u64 in_place_address; /* of struct in_place; 0 as long as the emulator has not started the guest */
static struct byte_array *buffer;
static struct qemu_plugin_register *rax, *rcx, *rdx, *r15, *cs, *rflags;

static u64 value_of(struct qemu_plugin_register *handle)
{
	u64 value = 0;

	g_byte_array_set_size(buffer, 0);
	if (qemu_plugin_read_register(handle, buffer))
		__builtin_memcpy(&value, buffer->data, buffer->len < sizeof(value) ? buffer->len : sizeof(value));
	return value;
}

static bool set(struct qemu_plugin_register *handle, u64 value)
{
	g_byte_array_set_size(buffer, sizeof(value));
	__builtin_memcpy(buffer->data, &value, sizeof(value));
	return qemu_plugin_write_register(handle, buffer);
}

static bool read_physical(u64 address, void *to, u32 size)
{
	if (qemu_plugin_read_memory_hwaddr(address, buffer, size) || buffer->len != size)
		return false;
	__builtin_memcpy(to, buffer->data, size);
	return true;
}

static bool write_physical(u64 address, u64 value)
{
	g_byte_array_set_size(buffer, sizeof(value));
	__builtin_memcpy(buffer->data, &value, sizeof(value));
	return !qemu_plugin_write_memory_hwaddr(address, buffer);
}

static void find_registers(void)
{
	static const struct {
		const char *name;
		struct qemu_plugin_register **handle;
	} wanted[] = { { "rax", &rax }, { "rcx", &rcx }, { "rdx", &rdx }, { "r15", &r15 }, { "cs", &cs }, { "eflags", &rflags } };
	const struct array *registers = qemu_plugin_get_registers();
	const struct qemu_register *at = (const struct qemu_register *)(void *)registers->data;

	buffer = g_byte_array_new();
	for (u32 i = 0; i < registers->len; i++) {
		for (u32 n = 0; n < sizeof(wanted) / sizeof(wanted[0]); n++) {
			if (!__builtin_strcmp(at[i].name, wanted[n].name))
				*wanted[n].handle = at[i].handle;
		}
	}
}

static bool has_registers(void)
{
	if (!buffer)
		find_registers();
	return rax && rcx && rdx && r15 && cs && rflags;
}

static bool find_emulator(void)
{
	struct view view;

	if (!in_place_address && read_physical(view_address, &view, sizeof(view)) && view.magic == VIEW_MAGIC)
		in_place_address = view.in_place;
	return in_place_address;
}

/*
 * 64-bit code of CPL 0 that nothing watches: RIP is the linear address then, #GP is not possible, and neither a trap of a
 * single step nor the end of RF's effect is due. Outside of 64-bit code QEMU refuses to write R15.
 */
static bool is_plain_kernel_code(void)
{
	return !(value_of(cs) & 3) && !(value_of(rflags) & (RFLAGS_TF | RFLAGS_RF | RFLAGS_VM)) && set(r15, value_of(r15));
}

/* Before the RDMSR at `data`. Only QEMU's first processor runs guests. */
static void before_rdmsr(unsigned int cpu, void *data)
{
	struct in_place now;
	u64 value;
	u32 msr;

	if (cpu || !has_registers())
		return;
	msr = (u32)value_of(rcx);
	if ((msr != SEV_MSR_GHCB && msr != SEV_MSR_STATUS) || !find_emulator() || !is_plain_kernel_code())
		return;
	if (!read_physical(in_place_address, &now, sizeof(now)) || !now.allowed)
		return;
	if (!write_physical(in_place_address + offsetof(struct in_place, answered), now.answered + 1))
		return;
	value = msr == SEV_MSR_GHCB ? now.ghcb : now.sev_status;
	set(rax, (u32)value);
	set(rdx, value >> 32);
	qemu_plugin_set_pc((u64)data + OPCODE_LENGTH);
}

/*
 * MOV of an immediate or another register to a register, without a prefix. QEMU keeps the flags of an instruction in a form
 * of its own, which the rest of its block knows and set_pc does not: RDMSR is answered only where it comes first in its
 * block, or after instructions that leave the flags alone.
 */
static bool is_move(const struct qemu_plugin_insn *insn)
{
	u8 code[5] = { 0 };
	size_t size = qemu_plugin_insn_data(insn, code, sizeof(code));

	if (size != qemu_plugin_insn_size(insn))
		return false;
	return (size == 5 && code[0] >= 0xB8 && code[0] <= 0xBF) || (size == 2 && (code[0] == 0x89 || code[0] == 0x8B) && code[1] >= 0xC0);
}

static bool is_rdmsr(const struct qemu_plugin_insn *insn)
{
	u8 code[OPCODE_LENGTH] = { 0 };

	return qemu_plugin_insn_size(insn) == OPCODE_LENGTH && qemu_plugin_insn_data(insn, code, sizeof(code)) == OPCODE_LENGTH &&
	       code[0] == 0x0F && code[1] == 0x32;
}

static void translated(struct qemu_plugin_tb *tb, void *data)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)data;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_rdmsr(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, before_rdmsr, QEMU_SETS_PC, (void *)qemu_plugin_insn_vaddr(insn));
		if (!is_move(insn))
			return;
	}
}

static bool is_hex(char digit, u64 *value)
{
	if (digit >= '0' && digit <= '9')
		*value = (u64)(digit - '0');
	else if (digit >= 'a' && digit <= 'f')
		*value = (u64)(digit - 'a') + 10;
	else
		return false;
	return true;
}

/* The one option: view=ADDRESS, in lower-case hexadecimal digits. */
int qemu_plugin_install(u64 id, const struct qemu_info *info, int argc, char **argv)
{
	static const char name[] = "view=";
	u64 digit;

	if (!info->system_emulation || __builtin_strcmp(info->target_name, "x86_64") || argc != 1 ||
	    __builtin_strncmp(argv[0], name, sizeof(name) - 1))
		return 1;
	for (const char *at = argv[0] + sizeof(name) - 1; is_hex(*at, &digit); at++)
		view_address = view_address << 4 | digit;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
	return 0;
}
