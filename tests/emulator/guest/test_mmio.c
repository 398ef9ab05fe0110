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

TEST(a_device_below_the_rom, ALL) /* pc-testdev's memory */
{
	mmio_out(0xFF000100, 4, 0x12345678);
	EQUAL(mmio_in(0xFF000100, 4), 0x12345678);
}

/* A walk of four levels leaves out bit 48: an address with it must not become the page of the APIC. */
TEST(an_address_beyond_the_processor_s, PLAIN)
{
	volatile u32 *page = (volatile u32 *)map_page(TEST_AREA + 0x11000, BIT(48) | APIC_DEFAULT_BASE, false);

	apic_set_mode(APIC_BASE_EN);
	EQUAL(page[APIC_VERSION / 4], 0xFFFFFFFF);
	EQUAL(*(volatile u32 *)VERSION, 0x50014);
}
