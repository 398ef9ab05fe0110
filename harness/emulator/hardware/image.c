/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which image the guest runs: the first exit from each code page is logged with the PE image around it,
 * so that the harness can name modules that the firmware has relocated. The harness knows modules that run in
 * place in the firmware's flash by their addresses. A header proves nothing, anyone can write one: the bytes of the
 * instruction are logged as well, and the harness compares them with the module's.
 */
#include "guest.h"

#define MAX_IMAGE   (16ull << 20) /* how far back a header may be */
#define MAX_UNFOUND 0x200         /* most pages of one search: limits the cost in an OS */
#define DOS_MAGIC   0x5A4Du       /* "MZ" */
#define PE_MAGIC    0x00004550u   /* "PE" */
#define PE_OFFSET   0x3C
#define PE_ENTRY    0x28          /* from the PE header: AddressOfEntryPoint, SizeOfImage (PE32 and PE32+ alike) */
#define PE_SIZE     0x50
#define PE_HEADER_LIMIT 0x1000

struct pe_identity {
	u32 size;
	u32 entry;
};

static bool read_identity(struct hw_cpu *cpu, u64 base, struct pe_identity *identity)
{
	u16 dos;
	u32 offset, signature;

	if (!guest_read(cpu, base, &dos, sizeof(dos)) || dos != DOS_MAGIC)
		return false;
	if (!guest_read(cpu, base + PE_OFFSET, &offset, sizeof(offset)) || offset > PE_HEADER_LIMIT - PE_SIZE)
		return false;
	if (!guest_read(cpu, base + offset, &signature, sizeof(signature)) || signature != PE_MAGIC)
		return false;
	return guest_read(cpu, base + offset + PE_ENTRY, &identity->entry, sizeof(identity->entry)) &&
	       guest_read(cpu, base + offset + PE_SIZE, &identity->size, sizeof(identity->size));
}

/* An image that another has replaced is forgotten. */
static bool is_known(struct hw_cpu *cpu, u64 pc)
{
	for (u32 i = 0; i < cpu->images; i++) {
		struct pe_identity identity;

		if (pc - cpu->image_base[i] >= cpu->image_size[i])
			continue;
		if (read_identity(cpu, cpu->image_base[i], &identity) && identity.size == cpu->image_size[i] &&
		    identity.entry == cpu->image_entry[i])
			return true;
		cpu->images--;
		cpu->image_base[i] = cpu->image_base[cpu->images];
		cpu->image_size[i] = cpu->image_size[cpu->images];
		cpu->image_entry[i] = cpu->image_entry[cpu->images];
		i--;
	}
	return false;
}

static void find(struct hw_cpu *cpu, u64 pc)
{
	u64 page = pc & ~(PAGE_SIZE - 1);

	for (u64 back = 0; back < MAX_UNFOUND * PAGE_SIZE && back <= page; back += PAGE_SIZE) {
		struct pe_identity identity;

		if (!read_identity(cpu, page - back, &identity) || pc - (page - back) >= identity.size || identity.size > MAX_IMAGE)
			continue;
		if (cpu->images < MAX_IMAGES) {
			cpu->image_base[cpu->images] = page - back;
			cpu->image_entry[cpu->images] = identity.entry;
			cpu->image_size[cpu->images++] = identity.size;
		}
		hw_log(cpu, (struct record){ .kind = RECORD_MODULE, .rip = pc, .address = page - back,
						 .value = identity.size | (u64)identity.entry << 32 });
		return;
	}
}

/* Rare, so not on the pages with the code of every exit. */
static __attribute__((noinline)) void look_up(struct hw_cpu *cpu, u64 pc)
{
	const struct host_config *config = cpu->machine->config;

	if (!is_known(cpu, pc) && pc - (FOUR_GIB - config->fw_size) >= config->fw_size)
		find(cpu, pc);
}

static void log_bytes(struct hw_cpu *cpu, u64 pc)
{
	struct known_code *known = &cpu->known_code[(pc ^ pc >> 5) % KNOWN_CODE];
	struct known_code now = { .pc = pc, .vmpl = cpu->vmpl };

	now.size = guest_code_at(cpu, pc, (u8 *)now.bytes, sizeof(now.bytes));
	if (known->size == now.size && known->pc == pc && known->vmpl == now.vmpl && known->bytes[0] == now.bytes[0] &&
	    known->bytes[1] == now.bytes[1] && known->bytes[2] == now.bytes[2])
		return;
	if (known->pc == pc && known->size) /* the code has changed: perhaps it is another image */
		look_up(cpu, pc);
	*known = now;
	hw_log(cpu, (struct record){ .kind = RECORD_BYTES, .rip = pc, .address = now.bytes[0], .value = now.bytes[1],
				     .extra = now.bytes[2], .size = (u8)now.size });
}

static __attribute__((noinline)) void log_page(struct hw_cpu *cpu, u64 pc)
{
	look_up(cpu, pc);
	log_bytes(cpu, pc);
}

/* At every exit of the guest: a direct-mapped cache of pages keeps it cheap. */
void hw_observe_image(struct hw_cpu *cpu)
{
	u64 pc = hw_observe_pc(cpu);
	u64 page = (pc / PAGE_SIZE + 1) | (u64)cpu->vmpl << 56;
	u64 *slot = &cpu->code_page[page % (sizeof(cpu->code_page) / sizeof(cpu->code_page[0]))];

	if (*slot == page)
		return;
	*slot = page;
	log_page(cpu, pc);
}

void hw_observe_code(struct hw_cpu *cpu, u64 pc)
{
	hw_observe_image(cpu);
	log_bytes(cpu, pc);
}
