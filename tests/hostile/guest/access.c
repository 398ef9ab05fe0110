/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to the local APIC, each of which is written down, and #VC. */
#include "hostile.h"
#include "svsm.h"

struct cpu cpus[AP_MAX];

struct cpu *this_cpu(void) { return &cpus[ap_self()]; }

static u64 ghcb_of(const struct cpu *cpu) { return cpu->index ? AP_GHCB(cpu->index) : GHCB_PAGE; }

static volatile u8 *calling_area_of(const struct cpu *cpu)
{
	return cpu->index ? (volatile u8 *)AP_CAA(cpu->index) : calling_area();
}

/* An operation on memory has its value in RAX, one on an MSR in EDX and EAX. */
static u64 run(u64 entry, bool msr, u64 address, u64 value)
{
	u64 low = msr ? (u32)value : value, high = value >> 32;

	__asm__ volatile("call *%[entry]"
			 : "+a"(low), "+d"(high)
			 : [entry] "r"(entry), "D"(address), "c"(address)
			 : "memory", "cc");
	return msr ? (u32)low | high << 32 : low;
}

static u64 vmgexit_by_block(struct cpu *cpu, u64 rax, u64 *rcx, u64 *rdx)
{
	__asm__ volatile("call *%[entry]"
			 : "+a"(rax), "+c"(*rcx), "+d"(*rdx)
			 : [entry] "r"(cpu->block + op_vmgexit.offset)
			 : "memory", "cc");
	return rax;
}

static u64 request(struct cpu *cpu, u64 code, u64 info1, u64 info2)
{
	u64 page = ghcb_of(cpu), rcx = 0, rdx = 0;

	*(volatile a16 *)(page + GHCB_PROTOCOL_VERSION) = GHCB_VERSION_SNP;
	ghcb_page_set(page, GHCB_SW_EXITCODE, code);
	ghcb_page_set(page, GHCB_SW_EXITINFO1, info1);
	ghcb_page_set(page, GHCB_SW_EXITINFO2, info2);
	wrmsr(SEV_MSR_GHCB, page);
	vmgexit_by_block(cpu, 0, &rcx, &rdx);
	return (u32)ghcb_page_get(page, GHCB_SW_EXITINFO1);
}

static u64 request_mmio(struct cpu *cpu, u64 code, u64 gpa, u32 size, u64 value)
{
	u64 page = ghcb_of(cpu);
	volatile a64 *buffer = (volatile a64 *)(page + GHCB_SHARED_BUFFER);

	ghcb_page_set(page, GHCB_SW_SCRATCH, (u64)buffer);
	*buffer = value;
	request(cpu, code, gpa, size);
	return *buffer;
}

static bool request_msr(struct cpu *cpu, u32 msr, bool write, u64 *value)
{
	u64 page = ghcb_of(cpu);

	ghcb_page_set(page, GHCB_RCX, msr);
	if (write) {
		ghcb_page_set(page, GHCB_RAX, (u32)*value);
		ghcb_page_set(page, GHCB_RDX, *value >> 32);
	}
	if (request(cpu, NAE_MSR, write, 0) != NAE_RESULT_OK)
		return false;
	if (!write)
		*value = (u32)ghcb_page_get(page, GHCB_RAX) | ghcb_page_get(page, GHCB_RDX) << 32;
	return true;
}

static bool call_svsm(struct cpu *cpu, u32 msr, bool write, u64 *value)
{
	u64 rcx = msr, rdx = *value, result;

	*(calling_area_of(cpu) + SVSM_CAA_CALL_PENDING) = 1;
	wrmsr(SEV_MSR_GHCB, GHCB_MSR_RUN_VMPL_REQ);
	result = vmgexit_by_block(cpu, SVSM_CALL(SVSM_PROTOCOL_APIC, write ? SVSM_APIC_WRITE_REGISTER : SVSM_APIC_READ_REGISTER),
				  &rcx, &rdx);
	*value = write ? *value : rdx;
	return result == SVSM_SUCCESS;
}

static void write_down(struct cpu *cpu, struct written entry)
{
	u64 area = WRITTEN_BASE + cpu->index * WRITTEN_SIZE;
	volatile u64 *count = (volatile u64 *)area;

	if (WRITTEN_ENTRY + (*count + 1) * sizeof(entry) > WRITTEN_SIZE)
		return; /* the test finds that one is missing */
	*(struct written *)(area + WRITTEN_ENTRY + *count * sizeof(entry)) = entry;
	++*count;
}

void access_setup(void)
{
	for (u64 i = 0; i < AP_MAX; i++)
		cpus[i] = (struct cpu){ .index = i, .base = APIC_DEFAULT_BASE | APIC_BASE_EN | (i ? 0 : APIC_BASE_BSP),
					.block = (u64)block_sec };
	for (u64 i = 0; i < parameters->vcpus; i++) {
		for (u64 page = 0; page < WRITTEN_SIZE && sev(); page += PAGE_SIZE)
			make_private(WRITTEN_BASE + i * WRITTEN_SIZE + page);
		*(volatile u64 *)(WRITTEN_BASE + i * WRITTEN_SIZE) = 0;
	}
}

bool access_refused(void) { return this_cpu()->refused; }

static u8 mode_of(const struct cpu *cpu) { return (u8)(cpu->base >> 10 & 3); }

static void follow_base(struct cpu *cpu, u32 number, u8 path, u64 value)
{
	if (path == PATH_MSR && number == MSR_APIC_BASE && !cpu->refused)
		cpu->base = value;
}

u64 access(const struct operation *operation, u64 address, u64 value)
{
	struct cpu *cpu = this_cpu();
	u64 flags = interrupts_off(), size = operation->size, mask = size < 8 ? BIT(8 * size) - 1 : ~0ull, result;
	struct written entry = { .pc = cpu->block + operation->offset, .number = (u32)(address + cpu->alias), .path = operation->path,
				 .size = operation->size, .mode = mode_of(cpu), .answer = (u8)cpu->answer };

	cpu->operation = operation;
	cpu->gpa = address + cpu->alias;
	cpu->refused = false;
	result = run(entry.pc, operation->path == PATH_MSR, address, value);
	cpu->operation = NULL;
	entry.refused = cpu->refused;
	if (cpu->answer == ANSWER_SVSM && operation->path == PATH_MSR)
		entry.path = PATH_SVSM;
	entry.exact = !!(operation->does & DOES_EXACT);
	if (cpu->answer == ANSWER_GUEST && (operation->does & DOES_READ) && (operation->does & DOES_WRITE)) {
		entry.write = WRITE_OR_READ;
		write_down(cpu, entry);
		interrupts_restore(flags);
		return result & mask;
	}
	if (operation->does & DOES_READ || operation == &op_stray4) {
		if (operation == &op_stray4)
			entry.answer = ANSWER_PERHAPS;
		entry.value = result & mask;
		write_down(cpu, entry);
	}
	if (operation->does & DOES_WRITE) {
		entry.value = value & mask;
		entry.write = 1;
		write_down(cpu, entry);
		follow_base(cpu, (u32)address, entry.path, value);
	}
	interrupts_restore(flags);
	return result & mask;
}

u64 svsm_access(u32 msr, bool write, u64 value)
{
	struct cpu *cpu = this_cpu();
	u64 flags = interrupts_off();
	struct written entry = { .pc = cpu->block + op_vmgexit.offset, .number = msr, .path = PATH_SVSM, .size = 8,
				 .mode = mode_of(cpu), .write = write, .exact = 1, .answer = ANSWER_DIRECT };

	entry.refused = !call_svsm(cpu, msr, write, &value);
	entry.value = value;
	write_down(cpu, entry);
	interrupts_restore(flags);
	return value;
}

u64 direct_access(u64 code, u64 info1, u64 info2, u64 value)
{
	struct cpu *cpu = this_cpu();
	u64 flags = interrupts_off();
	struct written entry = { .pc = cpu->block + op_vmgexit.offset, .mode = mode_of(cpu), .exact = 1,
				 .answer = ANSWER_DIRECT };

	if (code == NAE_MSR) { /* info1: the direction, info2: the MSR */
		entry.number = (u32)info2;
		entry.path = PATH_MSR;
		entry.size = 8;
		entry.write = (u8)info1;
		cpu->refused = !request_msr(cpu, (u32)info2, info1, &value);
		entry.refused = cpu->refused;
		entry.exact = !entry.refused;
	} else {
		entry.number = (u32)info1;
		entry.path = PATH_MMIO;
		entry.size = (u8)info2;
		entry.write = code == NAE_MMIO_WRITE;
		value = request_mmio(cpu, code, info1, (u32)info2, value);
	}
	entry.value = entry.size < 8 ? value & (BIT(8 * entry.size) - 1) : value;
	write_down(cpu, entry);
	if (entry.write)
		follow_base(cpu, entry.number, entry.path, value);
	interrupts_restore(flags);
	return value;
}

/* #VC of an access: by its operation, so nothing is decoded. */
static bool vc_mmio(struct cpu *cpu, struct trap_frame *frame)
{
	const struct operation *operation = cpu->operation;
	u64 mask = operation->size < 8 ? BIT(8 * operation->size) - 1 : ~0ull, value = 0;

	if (cpu->answer == ANSWER_GUEST) {
		frame->rip += operation->length;
		return true;
	}
	if (operation->does & DOES_READ)
		value = request_mmio(cpu, NAE_MMIO_READ, cpu->gpa, operation->size, 0) & mask;
	if (operation->does & DOES_WRITE)
		request_mmio(cpu, NAE_MMIO_WRITE, cpu->gpa, operation->size, frame->rax);
	else
		frame->rax = value;
	frame->rip += operation->length;
	return true;
}

static bool vc_msr(struct cpu *cpu, struct trap_frame *frame)
{
	bool write = cpu->operation->does & DOES_WRITE;
	u64 value = write ? (u32)frame->rax | frame->rdx << 32 : 0;

	if (cpu->answer == ANSWER_SVSM)
		cpu->refused = !call_svsm(cpu, (u32)frame->rcx, write, &value);
	else if (cpu->answer == ANSWER_HYPERVISOR)
		cpu->refused = !request_msr(cpu, (u32)frame->rcx, write, &value);
	if (!write) {
		frame->rax = (u32)value;
		frame->rdx = value >> 32;
	}
	frame->rip += cpu->operation->length;
	return true;
}

bool vc_handle(struct trap_frame *frame)
{
	struct cpu *cpu = this_cpu();

	if (!cpu->operation)
		return false;
	if (frame->vector == X86_GP) { /* without SEV */
		cpu->refused = true;
		frame->rip += cpu->operation->length;
		return true;
	}
	if (frame->vector != SEV_VECTOR_VC)
		return false;
	if (frame->error == SVM_EXIT_NOT_VALIDATED) {
		frame->rip += cpu->operation->length;
		return true;
	}
	return cpu->operation->path == PATH_MSR ? vc_msr(cpu, frame) : vc_mmio(cpu, frame);
}
