/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the plugin uses of QEMU's plugin interface, version 7 (QEMU 11.1), and of GLib, in which it is expressed. No Debian
 * package has QEMU's header (include/plugins/qemu-plugin.h); QEMU refuses a plugin of an interface that it does not have.
 * The names and types are QEMU's; all of it is found in QEMU's process, so nothing is linked.
 */
#ifndef SNP_QEMU_API_H
#define SNP_QEMU_API_H

#include "types.h"

#define QEMU_PLUGIN_VERSION 7
#define EXPORTED            __attribute__((visibility("default")))

/* GLib: GByteArray and GArray. */
struct byte_array {
	u8 *data;
	unsigned int len;
};

struct array {
	char *data;
	unsigned int len;
};

struct byte_array *g_byte_array_new(void);
struct byte_array *g_byte_array_set_size(struct byte_array *array, unsigned int length);

struct qemu_plugin_tb;       /* a translated block */
struct qemu_plugin_insn;     /* an instruction of it */
struct qemu_plugin_register;

struct qemu_info {
	const char *target_name;
	int version_min;
	int version_current;
	bool system_emulation;
};

struct qemu_register {
	struct qemu_plugin_register *handle;
	const char *name;
	const char *feature;
	bool is_readonly;
};

/* What a callback does with registers: QEMU_PLUGIN_CB_RW_REGS_PC. */
#define QEMU_SETS_PC 3

void qemu_plugin_register_vcpu_tb_trans_cb(u64 id, void (*callback)(struct qemu_plugin_tb *tb, void *data), void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned int cpu, void *data),
					    int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t size); /* bytes copied */
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
u64 qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
struct array *qemu_plugin_get_registers(void); /* of struct qemu_register; in a callback of a vCPU */
bool qemu_plugin_read_register(struct qemu_plugin_register *handle, struct byte_array *to); /* appends */
bool qemu_plugin_write_register(struct qemu_plugin_register *handle, struct byte_array *from);
int qemu_plugin_read_memory_hwaddr(u64 address, struct byte_array *to, size_t size); /* 0: done */
int qemu_plugin_write_memory_hwaddr(u64 address, struct byte_array *from);
_Noreturn void qemu_plugin_set_pc(u64 pc); /* the block ends: execution continues there */

EXPORTED extern int qemu_plugin_version;
EXPORTED int qemu_plugin_install(u64 id, const struct qemu_info *info, int argc, char **argv);

#endif
