/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin for QEMU's TCG: how many pages of code and of data the emulated host touches from one #VMEXIT to the next VMRUN.
 * QEMU's TLB is empty then, so each costs a walk of the page tables. Arguments: host=FIRST-END, the addresses of its code,
 * vmrun=ADDRESS of its VMRUN, both in hexadecimal, exits=NUMBER of the exits that are counted, the first ones, so that the
 * end of a run does not matter, and out=FILE, whose first bytes become struct counts while it runs. What
 * is used of QEMU's interface is the same since version 1 (QEMU 5.0; include/qemu/qemu-plugin.h).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SHIFT 12
#define PLACES     65536u /* of the table of pages, a power of two; far more than an exit touches */
#define EXPORTED   __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*callback)(unsigned int cpu, void *data), int flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned int cpu, void *data),
					    int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      void (*callback)(unsigned int cpu, uint32_t info, uint64_t address, void *data), int flags,
				      int directions, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define NO_REGISTERS 0 /* QEMU_PLUGIN_CB_NO_REGS */
#define READ_WRITE   3 /* QEMU_PLUGIN_MEM_RW */

EXPORTED int qemu_plugin_version = 1;
EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

/* The file; bench/exit_pages.py reads it. */
static struct counts {
	uint64_t exits;
	uint64_t code;
	uint64_t data;
} *counts;

static uint64_t host_first, host_end, vmrun, limit;
static struct place {
	uint64_t page;
	uint64_t exit; /* counts->exits + 1 when the page was touched last */
} places[2][PLACES]; /* of code, and of data */

static void touch(bool data, uint64_t address)
{
	uint64_t page = address >> PAGE_SHIFT, now = counts->exits + 1;
	uint32_t at = (uint32_t)(page ^ page >> 12) % PLACES;

	if (counts->exits == limit)
		return;
	while (places[data][at].exit == now && places[data][at].page != page)
		at = (at + 1) % PLACES;
	if (places[data][at].exit == now)
		return;
	places[data][at] = (struct place){ .page = page, .exit = now };
	*(data ? &counts->data : &counts->code) += 1;
}

static void executed(unsigned int cpu, void *address)
{
	(void)cpu;
	touch(false, (uint64_t)address);
}

static void accessed(unsigned int cpu, uint32_t info, uint64_t address, void *data)
{
	(void)cpu;
	(void)info;
	(void)data;
	touch(true, address);
}

/* What comes before the first one is not about an exit. */
static void entered(unsigned int cpu, void *data)
{
	static bool again;

	(void)cpu;
	(void)data;
	if (again) {
		counts->exits += counts->exits < limit;
		return;
	}
	again = true;
	*counts = (struct counts){ 0 };
	memset(places, 0, sizeof(places));
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	uint64_t start = qemu_plugin_tb_vaddr(tb);

	(void)id;
	if (start < host_first || start >= host_end)
		return;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, (void *)start);
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);

		if (address >> PAGE_SHIFT != start >> PAGE_SHIFT)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, NO_REGISTERS, (void *)address);
		if (address == vmrun)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, entered, NO_REGISTERS, NULL);
		else
			qemu_plugin_register_vcpu_mem_cb(insn, accessed, NO_REGISTERS, READ_WRITE, NULL);
	}
}

static bool take_argument(char *text)
{
	int file;

	if (!strncmp(text, "host=", 5)) {
		host_first = strtoull(text + 5, &text, 16);
		host_end = *text == '-' ? strtoull(text + 1, NULL, 16) : 0;
		return host_first < host_end;
	}
	if (!strncmp(text, "vmrun=", 6))
		return (vmrun = strtoull(text + 6, NULL, 16));
	if (!strncmp(text, "exits=", 6))
		return (limit = strtoull(text + 6, NULL, 10));
	if (strncmp(text, "out=", 4))
		return false;
	file = open(text + 4, O_RDWR);
	counts = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	return counts != MAP_FAILED;
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!take_argument(argv[i]))
			return 1;
	}
	if (!counts || !host_end || !vmrun || !limit)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
