/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that access the APIC page without SEV. The host emulates them. */
#include "apic_access.h"
#include "guest.h"

#define TPR (APIC_DEFAULT_BASE + APIC_TPR)
#define VERSION (APIC_DEFAULT_BASE + APIC_VERSION)
#define CF 0x001
#define ZF 0x040
#define SF 0x080

static void tpr(u32 value)
{
	apic_set_mode(APIC_BASE_EN);
	*(volatile u32 *)TPR = value;
}

static u32 tpr_now(void) { return *(volatile u32 *)TPR; }

/* Runs one instruction with RAX = `a`, RBX = the address, RCX = `c`. Returns RAX and sets the flags. */
#define DO(instruction, address, a, c, flags)                                                             \
	({                                                                                                \
		u64 rax_ = (a), rcx_ = (c);                                                               \
		__asm__ volatile(instruction "\n\tpushfq; popq %2"                                        \
				 : "+a"(rax_), "+c"(rcx_), "=r"(flags)                                    \
				 : "b"(address) : "memory", "cc");                                        \
		flags &= CF | ZF | SF;                                                                    \
		rax_;                                                                                     \
	})

TEST(mmio_loads, PLAIN)
{
	const u64 old = 0x1122334455667788;
	u64 flags;

	apic_set_mode(APIC_BASE_EN);
	EQUAL(DO("movl (%%rbx), %%eax", VERSION, old, 0, flags), 0x50014);
	EQUAL(DO("movw (%%rbx), %%ax", VERSION, old, 0, flags), 0x1122334455660014);
	EQUAL(DO("movb 2(%%rbx), %%al", VERSION, old, 0, flags), 0x1122334455667705);
	EQUAL(DO("movb (%%rbx), %%ah", VERSION, old, 0, flags), 0x1122334455661488);
	EQUAL(DO("movzbl (%%rbx), %%eax", VERSION, old, 0, flags), 0x14);
	EQUAL(DO("movzwq (%%rbx), %%rax", VERSION, old, 0, flags), 0x14);
	EQUAL(DO("movsbl (%%rbx), %%eax", APIC_DEFAULT_BASE + APIC_SPIV, old, 0, flags), 0xFFFFFFFF);
	EQUAL(DO("movsbq (%%rbx), %%rax", APIC_DEFAULT_BASE + APIC_SPIV, old, 0, flags), ~0ull);
	EQUAL(DO("movslq (%%rbx), %%rax", APIC_DEFAULT_BASE + APIC_DFR, old, 0, flags), ~0ull);
	EQUAL(DO("movl 0x30(%%rbx), %%eax", APIC_DEFAULT_BASE, old, 0, flags), 0x50014);
	EQUAL(DO("movl (%%rbx, %%rcx, 8), %%eax", APIC_DEFAULT_BASE, old, 6, flags), 0x50014);
	EQUAL(DO("movabsl 0xFEE00030, %%eax", 0, old, 0, flags), 0x50014);
}

TEST(mmio_stores, PLAIN)
{
	u64 flags;

	tpr(0);
	DO("movl %%eax, (%%rbx)", TPR, 0x51, 0, flags);
	EQUAL(tpr_now(), 0x51);
	DO("movl $0x62, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x62);
	DO("movl %%ecx, (%%rbx)", TPR, 0, 0x73, flags);
	EQUAL(tpr_now(), 0x73);
	DO("movnti %%eax, (%%rbx)", TPR, 0x34, 0, flags);
	EQUAL(tpr_now(), 0x34);
	tpr(0);
}

TEST(mmio_read_modify_write, PLAIN)
{
	u64 flags;

	tpr(0x33);
	DO("orl $0x44, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x77);
	EQUAL(flags, 0);
	DO("andl %%eax, (%%rbx)", TPR, 0xF0, 0, flags);
	EQUAL(tpr_now(), 0x70);
	DO("xorl %%eax, (%%rbx)", TPR, 0x70, 0, flags);
	EQUAL(tpr_now(), 0);
	EQUAL(flags, ZF);
	DO("addl $0x21, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x21);
	DO("subl $0x11, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x10);
	DO("incl (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x11);
	DO("decl (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x10);
	DO("notl (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0xEF);
	DO("negl (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x11);
	EQUAL(flags, CF | SF);
	tpr(0);
}

TEST(mmio_exchanges, PLAIN)
{
	u64 flags;

	tpr(0x21);
	EQUAL(DO("xchgl %%eax, (%%rbx)", TPR, 0x43, 0, flags), 0x21);
	EQUAL(tpr_now(), 0x43);
	EQUAL(DO("lock xaddl %%eax, (%%rbx)", TPR, 2, 0, flags), 0x43);
	EQUAL(tpr_now(), 0x45);
	EQUAL(DO("lock cmpxchgl %%ecx, (%%rbx)", TPR, 0x45, 0x60, flags), 0x45);
	EQUAL(flags, ZF);
	EQUAL(tpr_now(), 0x60);
	EQUAL(DO("cmpxchgl %%ecx, (%%rbx)", TPR, 0x45, 0x70, flags), 0x60);
	EQUAL(flags & ZF, 0);
	EQUAL(tpr_now(), 0x60);
	tpr(0);
}

TEST(mmio_tests_and_bits, PLAIN)
{
	u64 flags;

	tpr(0x30);
	DO("testl $0x0F, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(flags, ZF);
	DO("cmpl $0x30, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(flags, ZF);
	DO("cmpl (%%rbx), %%eax", TPR, 0x2F, 0, flags);
	EQUAL(flags, CF | SF);
	EQUAL(DO("addl (%%rbx), %%eax", TPR, 1, 0, flags), 0x31);
	DO("btl $4, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(flags & CF, CF);
	DO("btl $3, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(flags & CF, 0);
	DO("btsl $6, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x70);
	DO("btrl %%eax, (%%rbx)", TPR, 4, 0, flags);
	EQUAL(tpr_now(), 0x60);
	EQUAL(flags & CF, CF);
	DO("btl %%eax, (%%rbx)", APIC_DEFAULT_BASE + APIC_TPR - 16, 16 * 8 + 6, 0, flags); /* the bit offset moves the address */
	EQUAL(flags & CF, CF);
	tpr(0);
}

TEST(mmio_of_an_eoi_and_an_ipi, PLAIN)
{
	apic_prepare(APIC_BASE_EN);
	__asm__ volatile("movl $0x40051, 0x300(%0); sti; nop; nop; cli" : : "r"(APIC_DEFAULT_BASE) : "memory");
	EQUAL(interrupts[0x51], 1);
	EQUAL(*(volatile u32 *)(APIC_DEFAULT_BASE + APIC_ISR + 0x20), 1u << 17);
	__asm__ volatile("movl $0, 0xB0(%0)" : : "r"(APIC_DEFAULT_BASE) : "memory");
	EQUAL(*(volatile u32 *)(APIC_DEFAULT_BASE + APIC_ISR + 0x20), 0);
}

TEST(nothing_where_the_host_s_rom_is, PLAIN)
{
	volatile u32 *address = (volatile u32 *)(IMAGE_BASE - 0x10000);

	EQUAL(*address, 0xFFFFFFFF);
	*address = 0;
	EQUAL(*address, 0xFFFFFFFF);
}

#define DEVICE 0xFF000100ull /* pc-testdev's memory */

TEST(a_device_below_the_rom, ALL)
{
	mmio_out(DEVICE, 4, 0x12345678);
	EQUAL(mmio_in(DEVICE, 4), 0x12345678);
}

TEST(a_device_by_any_instruction, PLAIN)
{
	volatile u64 *device = (volatile u64 *)DEVICE;
	u64 buffer[4] = { 1, 2, 3, 4 };
	u64 source = (u64)buffer, target = DEVICE, count = 8, flags;

	__asm__ volatile("cld; rep movsl" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
	EQUAL(device[0], 1);
	EQUAL(device[3], 4);
	__asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, 16(%0)" : : "r"(DEVICE) : "memory");
	EQUAL(device[2], 1);
	EQUAL(device[3], 2);
	EQUAL(DO("push (%%rbx); pop %%rax", DEVICE + 24, 0, 0, flags), 2);
	DO("push %%rax; pop (%%rbx)", DEVICE + 0xEFC, 0x1122334455667788, 0, flags); /* across the edge of the page */
	EQUAL(*(volatile u64 *)(DEVICE + 0xEFC), 0x1122334455667788);
	DO("pxor %%xmm0, %%xmm0; movups %%xmm0, (%%rbx)", DEVICE, 0, 0, flags);
	EQUAL(device[0] | device[1], 0);
}

TEST(a_jump_through_a_device, PLAIN)
{
	volatile u64 *target = (volatile u64 *)DEVICE;
	u64 flags;

	EQUAL(DO("lea 7f(%%rip), %%rcx; mov %%rcx, (%%rbx); jmp *(%%rbx); mov $1, %%eax; 7:", DEVICE, 5, 0, flags), 5);
	*target = 0xAAAAAAAAAAAAAAAA; /* not canonical: as KVM's emulator, TCG itself raises #GP at the target */
	EQUAL(TRY("jmp *(%%rax)", OUT(), "a"(DEVICE)), 13);
	EQUAL(trap.rip, trap.start);
	EQUAL(trap.error, 0);
	EQUAL(trap.rflags & 0x100, 0);
	EQUAL(TRY("call *(%%rax)", OUT(), "a"(DEVICE)), 13);
	EQUAL(trap.rip, trap.start);
}

/* A guest with SEV only: the hypervisor ignores the C-bit. */
TEST(a_private_access_to_a_device, PLAIN)
{
	u32 cbit = cpuid(SEV_CPUID_LEAF, 0).ebx & SEV_CPUID_EBX_CBIT_MASK;
	u64 page, flags;

	if (!cbit)
		return;
	page = (u64)map_page(TEST_AREA + 0x12000, BIT(cbit) | (DEVICE & ~(PAGE_SIZE - 1)), false);
	DO("movd %%eax, %%xmm0; movd %%xmm0, (%%rbx)", page + 0x100, 0x99, 0, flags);
	EQUAL(*(volatile u32 *)DEVICE, 0x99);
	page = (u64)map_page(TEST_AREA + 0x12000, BIT(cbit) | APIC_DEFAULT_BASE, false);
	tpr(0x20);
	DO("movd %%eax, %%xmm0; movd %%xmm0, (%%rbx)", page + APIC_TPR, 0x45, 0, flags);
	EQUAL(tpr_now(), 0x45);
	tpr(0);
}

/* A walk of four levels leaves out bit 48: an address with it must not become the page of the APIC. */
TEST(an_address_beyond_the_processor_s, PLAIN)
{
	volatile u32 *page = (volatile u32 *)map_page(TEST_AREA + 0x11000, BIT(48) | APIC_DEFAULT_BASE, false);

	apic_set_mode(APIC_BASE_EN);
	EQUAL(page[APIC_VERSION / 4], 0xFFFFFFFF);
	EQUAL(*(volatile u32 *)VERSION, 0x50014);
}

/* The processor executes these itself, on a copy of the page; the rest of the tests shows that the device is back. */
TEST(mmio_sse, PLAIN)
{
	u64 value[2] = { 1, 1 };
	u64 flags;

	tpr(0x20);
	__asm__ volatile("movups (%1), %%xmm0; movups %%xmm0, %0" : "=m"(value) : "r"(VERSION));
	EQUAL(value[0], 0x50014);
	EQUAL(value[1], 0);
	DO("movd %%eax, %%xmm0; movd %%xmm0, (%%rbx)", TPR, 0x45, 0, flags);
	EQUAL(tpr_now(), 0x45);
	DO("movss %%xmm0, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x45);
	DO("pxor %%xmm0, %%xmm0; movups %%xmm0, (%%rbx)", TPR, 0, 0, flags); /* as KVM: 8 bytes twice, which are dropped */
	EQUAL(tpr_now(), 0x45);
	DO("movq %%xmm0, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x45);
	tpr(0);
}

TEST(mmio_strings, PLAIN)
{
	u32 buffer[4] = { 0x51, 0x62, 0, 0 };
	u64 source = VERSION, target = (u64)&buffer[2], count = 2, flags;

	tpr(0);
	__asm__ volatile("cld; movsl" : "+S"(source), "+D"(target) : : "memory");
	EQUAL(buffer[2], 0x50014);
	EQUAL(source, VERSION + 4);
	EQUAL(target, (u64)&buffer[3]);
	source = (u64)buffer;
	target = TPR;
	__asm__ volatile("movsl" : "+S"(source), "+D"(target) : : "memory");
	EQUAL(tpr_now(), 0x51);
	source = (u64)&buffer[1];
	target = TPR;
	__asm__ volatile("std; rep movsl; cld" : "+S"(source), "+D"(target), "+c"(count) : : "memory"); /* the second below the register */
	EQUAL(count, 0);
	EQUAL(tpr_now(), 0x62);
	source = APIC_DEFAULT_BASE + APIC_SPIV;
	target = TPR;
	__asm__ volatile("movsl" : "+S"(source), "+D"(target) : : "memory"); /* from the page to the page */
	EQUAL(tpr_now(), *(volatile u32 *)(APIC_DEFAULT_BASE + APIC_SPIV) & 0xFF);
	target = TPR;
	__asm__ volatile("stosl" : "+D"(target) : "a"(0x33) : "memory");
	EQUAL(tpr_now(), 0x33);
	source = TPR;
	EQUAL(DO("mov %%rbx, %%rsi; lodsl", TPR, 0, 0, flags), 0x33);
	tpr(0);
}

TEST(mmio_across_the_page_s_edges, PLAIN) /* test_guest.py looks for the accesses */
{
	u64 flags;

	apic_prepare(APIC_BASE_EN);
	EQUAL(DO("movl (%%rbx), %%eax", APIC_DEFAULT_BASE - 2, 0, 0, flags) >> 16, 0);
	DO("movl %%eax, (%%rbx)", APIC_DEFAULT_BASE - 2, 0x12345678, 0, flags);
	EQUAL(DO("movl (%%rbx), %%eax", APIC_DEFAULT_BASE + 0xFFE, 0, 0, flags) & 0xFFFF, 0);
	DO("movl %%eax, (%%rbx)", APIC_DEFAULT_BASE + 0xFFE, 0x12345678, 0, flags);
	EQUAL(DO("movl (%%rbx), %%eax", VERSION, 0, 0, flags), 0x50014);
}

TEST(mmio_of_other_instructions, PLAIN)
{
	u64 flags, rsp;

	tpr(0x11);
	DO("shll $1, (%%rbx)", TPR, 0, 0, flags);
	EQUAL(tpr_now(), 0x22);
	DO("smsw (%%rbx)", TPR, 0, 0, flags); /* 2 bytes */
	EQUAL(tpr_now(), 0x22);
	DO("setc (%%rbx)", TPR, 0, 0, flags); /* 1 byte */
	EQUAL(tpr_now(), 0x22);
	__asm__ volatile("mov %%rsp, %0; mov %1, %%rsp; push $0x44; mov %0, %%rsp" : "=&r"(rsp) : "r"(TPR + 8) : "memory"); /* 8 bytes */
	EQUAL(tpr_now(), 0x22);
	EQUAL(DO("xor %%edx, %%edx; mull (%%rbx)", TPR, 3, 0, flags) & 0xFFFFFFFF, 0x66);
	EQUAL(DO("cmovcl (%%rbx), %%eax", TPR, 3, 0, flags), 3);
	tpr(0);
}

TEST(mmio_and_a_fault_of_the_other_operand, PLAIN)
{
	u64 missing = 0x7000000000; /* not mapped */

	tpr(0x31);
	EQUAL(TRY("movsl", OUT(), "S"(TPR), "D"(missing)), 14);
	EQUAL(trap.rip, trap.start);
	EQUAL(trap.rflags & 0x100, 0);
	EQUAL(TRY("movsl", OUT(), "S"(missing), "D"(TPR)), 14);
	EQUAL(tpr_now(), 0x31);
	tpr(0);
}

TEST(mmio_in_a_single_step, PLAIN)
{
	tpr(0x31);
	trap.vector = NO_TRAP;
	__asm__ volatile("lea 9f(%%rip), %%r11; mov %%r11, trap; pushfq; orl $0x100, (%%rsp); popfq; movd (%0), %%xmm0; 9: nop"
			 : : "r"(TPR) : "r11", "memory", "cc");
	EQUAL(trap.vector, 1);
	__asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" : : : "memory", "cc");
	tpr(0);
}
