/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSAVEC, XSAVES, XRSTORS, and XRSTOR of a compacted area, against a model that is made of XSAVE and XRSTOR in standard
 * format, which QEMU has, and of the rules of the SDM (vol. 1, 13.7 to 13.12).
 */
#include "guest.h"
#include "random.h"
#include "svm.h"

#define UD 6
#define NM 7
#define SS 12
#define GP 13
#define PF 14
#define VC SEV_VECTOR_VC

#define X87 BIT(0)
#define SSE BIT(1)
#define AVX BIT(2)
#define ALL_STATE (X87 | SSE | AVX)
#define COMPACT BIT(63)

#define MXCSR     24u
#define ST        32u
#define XMM       160u
#define XSTATE_BV 512u
#define XCOMP_BV  520u
#define YMM       576u /* in both formats: AVX is the first extended component */
#define AREA_SIZE 832u
#define MXCSR_INIT 0x1F80u
#define FCW_INIT   0x37Fu

#define PAGE_A (TEST_AREA + 0x70000) /* linear; each shows the other's physical page */
#define PAGE_B (TEST_AREA + 0x71000)
#define EMPTY  (TEST_AREA + 0x72000)
#define USER_AREA (TEST_AREA + 0x2000) /* RAX of user_run() */
#define NOT_CANONICAL 0x800000000000ull

extern const u8 user_xsavec[], user_xsaves[], user_xrstors[], user_xrstor[];
/* user.S: 32-bit code. */
void compat_xsavec(u8 *area, u64 features);
void compat_xrstors(const u8 *area, u64 features);

enum how { XSAVEC, XSAVES, XRSTORS, XRSTOR };

static u8 before[4096] __attribute__((aligned(64)));
static u8 after[4096] __attribute__((aligned(64)));
static u8 area[4096] __attribute__((aligned(64)));
static u8 expected[4096] __attribute__((aligned(64)));

static u64 *field(u8 *bytes, u32 offset) { return (u64 *)(bytes + offset); }

static void enable(void)
{
	u64 cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE | CR4_OSFXSR));
	__asm__ volatile("xsetbv" : : "a"(ALL_STATE), "d"(0), "c"(0));
}

#define DO(instruction, address, features)                                                                        \
	__asm__ volatile(instruction : : "r"(address), "a"((u32)(features)), "d"((u32)((u64)(features) >> 32)) : "memory")

#define EXECUTE(name)                                     \
	do {                                              \
		if (wide)                                 \
			DO(name "64 (%0)", at, features); \
		else                                      \
			DO(name " (%0)", at, features);   \
	} while (0)

/* `wide`: with REX.W, whose x87 pointers have 64 bits; QEMU keeps neither kind. */
static void execute(enum how how, bool wide, u8 *at, u64 features)
{
	switch (how) {
	case XSAVEC: EXECUTE("xsavec"); break;
	case XSAVES: EXECUTE("xsaves"); break;
	case XRSTORS: EXECUTE("xrstors"); break;
	case XRSTOR: EXECUTE("xrstor"); break;
	}
}

static void standard_save(u8 *at) { DO("xsave64 (%0)", at, ~0ull); }
static void standard_load(const u8 *at) { DO("xrstor64 (%0)", at, ~0ull); }

/* A state with random values in random components; the others are in their initial configuration. */
static void random_state(u64 *seed)
{
	static u8 state[4096] __attribute__((aligned(64)));

	for (u32 i = 0; i < AREA_SIZE; i += 8)
		*field(state, i) = random_next(seed);
	*(u16 *)state = (u16)(FCW_INIT & random_next(seed)) | 0x40;
	*(u32 *)(state + MXCSR) = random_next(seed) & 1 ? MXCSR_INIT : random_next(seed) & 0xFFFF;
	for (u32 i = XSTATE_BV; i < YMM; i += 8)
		*field(state, i) = 0;
	*field(state, XSTATE_BV) = random_next(seed) & ALL_STATE;
	standard_load(state);
}

static bool is_zero(const u8 *bytes, u32 from, u32 to) { return !any_bit(bytes + from, to - from); }

static u64 in_use(const u8 *state)
{
	bool x87 = *(const u16 *)state != FCW_INIT || !is_zero(state, 2, MXCSR) || !is_zero(state, ST, XMM);
	bool sse = *(const u32 *)(state + MXCSR) != MXCSR_INIT || !is_zero(state, XMM, 416);

	return (x87 ? X87 : 0) | (sse ? SSE : 0) | (is_zero(state, YMM, AREA_SIZE) ? 0 : AVX);
}

static void copy(u8 *to, const u8 *from, u32 begin, u32 end)
{
	for (u32 i = begin; i < end; i++)
		to[i] = from[i];
}

static bool same(const u8 *a, const u8 *b, u32 begin, u32 end)
{
	for (u32 i = begin; i < end; i++) {
		if (a[i] != b[i])
			return false;
	}
	return true;
}

static void clear(u8 *bytes, u32 begin, u32 end)
{
	for (u32 i = begin; i < end; i++)
		bytes[i] = 0;
}

/* What XSAVEC makes of `to`. Registers 8-15 are left out in 32-bit code. */
static void model_save(u8 *to, const u8 *state, u64 features, bool mode64)
{
	u64 saved = in_use(state) & features;

	if (saved & X87) {
		copy(to, state, 0, MXCSR);
		copy(to, state, ST, XMM);
	}
	if (saved & SSE) {
		copy(to, state, MXCSR, ST);
		copy(to, state, XMM, mode64 ? 416 : 288);
	}
	if (saved & AVX)
		copy(to, state, YMM, mode64 ? AREA_SIZE : YMM + 128);
	*field(to, XSTATE_BV) = saved;
	*field(to, XCOMP_BV) = features | COMPACT;
}

static void model_load(u8 *state, const u8 *from, u64 features, bool mode64)
{
	u64 loaded = *(const u64 *)(from + XSTATE_BV) & features;

	if (features & X87) {
		clear(state, 0, MXCSR);
		clear(state, ST, XMM);
		*(u16 *)state = FCW_INIT;
	}
	if (features & SSE) {
		clear(state, XMM, mode64 ? 416 : 288);
		*(u32 *)(state + MXCSR) = MXCSR_INIT;
	}
	if (features & AVX)
		clear(state, YMM, mode64 ? AREA_SIZE : YMM + 128);
	if (loaded & X87) {
		copy(state, from, 0, MXCSR);
		copy(state, from, ST, XMM);
	}
	if (loaded & SSE) {
		copy(state, from, MXCSR, MXCSR + 4);
		copy(state, from, XMM, mode64 ? 416 : 288);
	}
	if (loaded & AVX)
		copy(state, from, YMM, mode64 ? AREA_SIZE : YMM + 128);
}

/* Of x87 QEMU keeps control and status word, tags and the 80 bits of each register. */
static bool same_state(const u8 *a, const u8 *b)
{
	for (u32 i = 0; i < 8; i++) {
		if (!same(a, b, ST + 16 * i, ST + 16 * i + 10))
			return false;
	}
	return same(a, b, 0, 5) && same(a, b, MXCSR, MXCSR + 4) && same(a, b, XMM, 416) && same(a, b, YMM, AREA_SIZE);
}

TEST(xsave_compact_and_back, SEV)
{
	u64 seed = 0x5EED0001 + parameters->cbit;

	enable();
	clear(before, 0, AREA_SIZE);
	for (u32 i = 0; i < 300; i++) {
		u64 mask = random_next(&seed), features = mask & ALL_STATE;

		random_state(&seed);
		standard_save(before);
		for (u32 at = 0; at < AREA_SIZE + 64; at += 8)
			*field(area, at) = *field(expected, at) = random_next(&seed);
		execute(random_next(&seed) & 1 ? XSAVEC : XSAVES, random_next(&seed) & 1, area, mask);
		model_save(expected, before, features, true);
		CHECK(same(area, expected, 0, AREA_SIZE + 64));
		standard_save(after);
		CHECK(same_state(before, after));

		clear(area, 528, YMM); /* reserved: XSAVEC does not write them, and XRSTORS wants zeros */
		mask = random_next(&seed);
		random_state(&seed);
		standard_save(before);
		execute(random_next(&seed) & 1 ? XRSTOR : XRSTORS, random_next(&seed) & 1, area, mask);
		model_load(before, area, mask & ALL_STATE, true);
		standard_save(after);
		CHECK(same_state(before, after));
	}
}

TEST(xsave_follows_xcr0, SEV)
{
	enable();
	__asm__ volatile("xsetbv" : : "a"(X87 | SSE), "d"(0), "c"(0));
	execute(XSAVES, true, area, ~0ull);
	EQUAL(*field(area, XCOMP_BV), COMPACT | X87 | SSE);
	*field(area, XSTATE_BV) = 0;
	*field(area, XCOMP_BV) = COMPACT | X87 | SSE | AVX;
	EQUAL(TRY("xrstors (%%rcx)", OUT(), "c"(area), "a"(3), "d"(0)), GP);
	__asm__ volatile("xsetbv" : : "a"(ALL_STATE), "d"(0), "c"(0));
	EQUAL(TRY("xrstors (%%rcx)", OUT(), "c"(area), "a"(3), "d"(0)), NO_TRAP);
}

TEST(xsave_in_32_bit_code, SEV)
{
	u64 seed = 0x5EED0002;

	enable();
	for (u32 i = 0; i < 40; i++) {
		u64 features = random_next(&seed) & ALL_STATE;

		random_state(&seed);
		standard_save(before);
		for (u32 at = 0; at < AREA_SIZE; at += 8)
			*field(area, at) = *field(expected, at) = random_next(&seed);
		compat_xsavec(area, features);
		model_save(expected, before, features, false);
		CHECK(same(area, expected, 0, AREA_SIZE));
		clear(area, 528, YMM);
		random_state(&seed);
		standard_save(before);
		features = random_next(&seed) & ALL_STATE;
		compat_xrstors(area, features);
		model_load(before, area, features, false);
		standard_save(after);
		CHECK(same_state(before, after));
	}
}

static void compat_save(u64 features) { compat_xsavec(area, features); }

TEST(xsave_checks_segments, SEV)
{
	enable();
	__asm__ volatile("mov %0, %%ds" : : "r"(0));
	trap.vector = NO_TRAP;
	protect(compat_save, ALL_STATE);
	__asm__ volatile("mov %0, %%ds" : : "r"(SELECTOR_DATA));
	EQUAL(trap.vector, GP);
	EQUAL(trap.error, 0);
	EQUAL(trap.cs, SELECTOR_CODE32);
	trap.vector = NO_TRAP;
	protect(compat_save, ALL_STATE);
	EQUAL(trap.vector, NO_TRAP);
}

/* Every way to name an address. */
#define SAVES_TO(text, offset, ...)                                                              \
	do {                                                                                     \
		*field(area, XCOMP_BV + (offset)) = 0;                                           \
		EQUAL(TRY("xsavec " text, OUT(), "a"(7), "d"(0), __VA_ARGS__), NO_TRAP);         \
		EQUAL(*field(area, XCOMP_BV + (offset)), COMPACT | ALL_STATE);                   \
	} while (0)

TEST(xsave_addresses, SEV)
{
	u64 base = (u64)area;

	enable();
	SAVES_TO("area(%%rip)", 0, "c"(0));
	SAVES_TO("area", 0, "c"(0));
	SAVES_TO("64(%%rcx)", 64, "c"(base));
	SAVES_TO("-0x1000(%%rcx,%%rsi,8)", 128, "c"(base + 0x1000), "S"(16));
	SAVES_TO("(%%ecx)", 0, "c"(base | 0xFFFFFFFF00000000));
	wrmsr(0xC0000101, base - 0x40);
	SAVES_TO("%%gs:0x40", 0, "c"(0));
	SAVES_TO("%%gs:(%%ecx)", 128, "c"(0xFFFFFFFF000000C0));
	wrmsr(0xC0000101, 0);
}

#define RAISES(vector_, text, ...)                                                               \
	do {                                                                                     \
		EQUAL(TRY(text, OUT(), "a"(7), "d"(0), __VA_ARGS__), vector_);                   \
		EQUAL(trap.rip, trap.start);                                                     \
		EQUAL(trap.error, 0);                                                            \
	} while (0)

TEST(xsave_faults, SEV)
{
	u64 cr0, cr4, base = (u64)area;

	enable();
	__asm__ volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
	RAISES(GP, "xsavec (%%rcx)", "c"(base + 32));
	RAISES(GP, "xsaves (%%rcx)", "c"(base + 1));
	RAISES(GP, "xrstors (%%rcx)", "c"(base + 8));
	RAISES(GP, "xrstor (%%rcx)", "c"(base + 8));
	RAISES(GP, "xsaves (%%rcx)", "c"(NOT_CANONICAL));
	RAISES(GP, "xsaves (%%rcx)", "c"(NOT_CANONICAL - 0x40)); /* it ends beyond */
	RAISES(UD, ".byte 0xF0; xsavec (%%rcx)", "c"(base));
	RAISES(UD, ".byte 0x66; xsavec (%%rcx)", "c"(base));
	RAISES(UD, ".byte 0x0F, 0xC7, 0xE1", "c"(base)); /* a register */
	EQUAL(TRY("mov %%rbp, %%r10; mov %%rcx, %%rbp; xsavec (%%rbp); 9: mov %%r10, %%rbp; 7:", OUT(), "c"(NOT_CANONICAL)), SS);
	EQUAL(trap.error, 0);
	__asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | CR0_TS));
	RAISES(NM, "xsavec (%%rcx)", "c"(base));
	RAISES(NM, "xrstors (%%rcx)", "c"(base));
	__asm__ volatile("clts; mov %0, %%cr4" : : "r"(cr4 & ~CR4_OSXSAVE));
	RAISES(UD, "xsaves (%%rcx)", "c"(base));
	RAISES(UD, "xrstors (%%rcx)", "c"(base + 1));
	enable();
}

/* Headers that no XRSTOR takes; the fault of each is corrected before the next. */
TEST(xsave_checks_the_header, SEV)
{
	u64 base = (u64)area;

	enable();
	clear(area, 0, AREA_SIZE);
	*(u32 *)(area + MXCSR) = 0x10000;
	*field(area, XSTATE_BV) = SSE | AVX;
	*field(area, 568) = 1;
	RAISES(GP, "xrstors (%%rcx)", "c"(base)); /* not compacted */
	*field(area, XCOMP_BV) = COMPACT | SSE | BIT(9);
	RAISES(GP, "xrstors (%%rcx)", "c"(base)); /* no such component */
	*field(area, XCOMP_BV) = COMPACT | SSE;
	RAISES(GP, "xrstors (%%rcx)", "c"(base)); /* AVX is not in XCOMP_BV */
	*field(area, XCOMP_BV) = COMPACT | SSE | AVX;
	RAISES(GP, "xrstor (%%rcx)", "c"(base)); /* a reserved byte */
	*field(area, 568) = 0;
	RAISES(GP, "xrstors (%%rcx)", "c"(base)); /* a reserved bit of MXCSR */
	RAISES(GP, "xrstor (%%rcx)", "c"(base));
	EQUAL(TRY("xrstors (%%rcx)", OUT(), "c"(base), "a"(AVX), "d"(0)), NO_TRAP); /* which is not loaded */
	*(u32 *)(area + MXCSR) = MXCSR_INIT;
	EQUAL(TRY("xrstor (%%rcx)", OUT(), "c"(base), "a"(7), "d"(0)), NO_TRAP);
	*field(area, XSTATE_BV) = BIT(62);
	*field(area, XCOMP_BV) = 0;
	RAISES(GP, "xrstor (%%rcx)", "c"(base)); /* QEMU's own */
}

#define ACCESSED_DIRTY 0x60ull
static volatile u64 *entry(u64 linear) { return &((volatile u64 *)TEST_TABLE)[(linear - TEST_AREA) / PAGE_SIZE]; }

/* The header is on the second page: what comes before it stays as it was when that page faults. */
TEST(xsave_across_pages, SEV)
{
	u8 *at = (u8 *)PAGE_A + PAGE_SIZE - XSTATE_BV;
	u64 seed = 0x5EED0003;

	enable();
	make_private(PAGE_A);
	make_private(PAGE_B);
	map_page(PAGE_A, PAGE_B, true);
	map_page(PAGE_B, PAGE_A, true);
	for (u32 i = 0; i < 10; i++) {
		random_state(&seed);
		standard_save(before);
		for (u32 n = 0; n < AREA_SIZE; n += 8)
			*field(at, n) = *field(expected, n) = random_next(&seed);
		*entry(PAGE_A) &= ~ACCESSED_DIRTY;
		*entry(PAGE_B) = 0;
		invlpg(PAGE_A);
		invlpg(PAGE_B);
		EQUAL(TRY("xsavec (%%rcx)", OUT(), "c"(at), "a"(7), "d"(0)), PF);
		EQUAL(trap.error, 2);
		EQUAL(trap.rip, trap.start);
		map_page(PAGE_B, PAGE_A, true);
		*entry(PAGE_B) &= ~2ull;
		invlpg(PAGE_B);
		EQUAL(TRY("xsaves (%%rcx)", OUT(), "c"(at), "a"(7), "d"(0)), PF);
		EQUAL(trap.error, 3);
		CHECK(same(at, expected, 0, XSTATE_BV));
		map_page(PAGE_B, PAGE_A, true);
		EQUAL(TRY("xsavec (%%rcx)", OUT(), "c"(at), "a"(7), "d"(0)), NO_TRAP);
		EQUAL(*entry(PAGE_A) & ACCESSED_DIRTY, ACCESSED_DIRTY);
		EQUAL(*entry(PAGE_B) & ACCESSED_DIRTY, ACCESSED_DIRTY);
		model_save(expected, before, 7, true);
		CHECK(same(at, expected, 0, AREA_SIZE));
		clear(at, 528, YMM);
		random_state(&seed);
		EQUAL(TRY("xrstors (%%rcx)", OUT(), "c"(at), "a"(7), "d"(0)), NO_TRAP);
		standard_save(after);
		CHECK(same_state(before, after));
	}
}

/* A page that nothing has been accessed in, a shared one, and one without memory. */
TEST(xsave_to_pages_of_each_kind, SEV)
{
	enable();
	make_private(EMPTY);
	map_page(EMPTY, EMPTY, true);
	EQUAL(TRY("xsavec (%%rcx)", OUT(), "c"(EMPTY), "a"(7), "d"(0)), NO_TRAP);
	EQUAL(*(volatile u64 *)(EMPTY + XCOMP_BV), COMPACT | ALL_STATE);
	make_shared(EMPTY);
	map_page(EMPTY, EMPTY, false);
	EQUAL(TRY("xsavec (%%rcx)", OUT(), "c"(EMPTY), "a"(7), "d"(0)), NO_TRAP);
	EQUAL(*(volatile u64 *)(EMPTY + XCOMP_BV), COMPACT | ALL_STATE);
	map_page(EMPTY, 0xFEC00000, false); /* the I/O APIC */
	EQUAL(TRY("xsaves (%%rcx)", OUT(), "c"(EMPTY), "a"(7), "d"(0)), VC);
	EQUAL(trap.error, SVM_EXIT_NPF);
	EQUAL(trap.rip, trap.start);
}

TEST(xsave_to_a_page_not_validated, SEV)
{
	enable();
	make_shared(EMPTY);
	map_page(EMPTY, EMPTY, true);
	EQUAL(TRY("xsavec (%%rcx)", OUT(), "c"(EMPTY), "a"(7), "d"(0)), VC);
	EQUAL(trap.error, SVM_EXIT_NOT_VALIDATED);
	EQUAL(trap.rip, trap.start);
}

/* No component is asked for. */
TEST(xsave_at_cpl_3, SEV)
{
	enable();
	make_private(USER_AREA);
	map_page(USER_AREA, USER_AREA, true);
	user_run((u64)user_xsaves);
	EQUAL(trap.vector, GP);
	EQUAL(trap.rip, (u64)user_xsaves);
	user_run((u64)user_xrstors);
	EQUAL(trap.vector, GP);
	user_run((u64)user_xrstor); /* in standard format still */
	EQUAL(trap.vector, UD);
	*entry(USER_AREA) &= ~4ull;
	invlpg(USER_AREA);
	user_run((u64)user_xsavec);
	EQUAL(trap.vector, PF);
	EQUAL(trap.error, 7);
	map_page(USER_AREA, USER_AREA, true);
	user_run((u64)user_xsavec);
	EQUAL(trap.vector, UD); /* after it */
	EQUAL(*(volatile u64 *)(USER_AREA + XCOMP_BV), COMPACT);
	user_run((u64)user_xrstor);
	EQUAL(trap.vector, UD);
	CHECK(trap.rip > (u64)user_xrstor);
}

TEST(xss_has_no_bits, SEV)
{
	EQUAL(TRY("wrmsr", OUT(), "c"(MSR_XSS), "a"(0), "d"(0)), NO_TRAP);
	EQUAL(rdmsr(MSR_XSS), 0);
	EQUAL(TRY("wrmsr", OUT(), "c"(MSR_XSS), "a"(BIT(8)), "d"(0)), GP);
	EQUAL(TRY("wrmsr", OUT(), "c"(MSR_XSS), "a"(0), "d"(1)), GP);
}

static struct cpuid leaf_d(u32 subleaf, u64 xcr0)
{
	ghcb_set(GHCB_RAX, 0xD);
	ghcb_set(GHCB_RCX, subleaf);
	ghcb_set(GHCB_XCR0, xcr0);
	nae(NAE_CPUID, 0, 0);
	return (struct cpuid){ ghcb_get(GHCB_RAX), ghcb_get(GHCB_RBX), ghcb_get(GHCB_RCX), ghcb_get(GHCB_RDX) };
}

TEST(cpuid_describes_xsave, SEV)
{
	EQUAL(leaf_d(0, 1).eax, ALL_STATE);
	EQUAL(leaf_d(0, 1).ebx, 576);
	EQUAL(leaf_d(0, 7).ebx, AREA_SIZE);
	EQUAL(leaf_d(0, 5).ebx, AREA_SIZE); /* no XCR0: the last one counts */
	EQUAL(leaf_d(0, 3).ebx, 576);
	EQUAL(leaf_d(0, 7).ecx, AREA_SIZE);
	EQUAL(leaf_d(1, 7).eax & 0xF, 0xF); /* XSAVEOPT, XSAVEC, XGETBV with ECX 1, XSAVES */
	EQUAL(leaf_d(1, 7).ebx, AREA_SIZE);
	EQUAL(leaf_d(1, 3).ebx, 576);
	EQUAL(leaf_d(1, 7).ecx, 0);
	EQUAL(leaf_d(2, 7).eax, 256);
	EQUAL(leaf_d(2, 7).ebx, YMM);
	EQUAL(leaf_d(3, 7).eax, 0);
}

/* As Linux and OVMF look for them: of leaf D's sub-leaves 0 and 1, the entries with the first XCR0. */
TEST(cpuid_page_describes_xsave, SEV)
{
	const volatile struct {
		u32 leaf, subleaf;
		u64 xcr0, xss;
		u32 eax, ebx, ecx, edx;
		u64 reserved;
	} *found = (const volatile void *)(CPUID_PAGE + 16);
	u32 seen = 0;

	for (u32 i = 0; i < *(volatile u32 *)CPUID_PAGE; i++, found++) {
		if (found->leaf != 0xD)
			continue;
		seen |= 1u << found->subleaf;
		EQUAL(found->xcr0, found->subleaf <= 1);
		EQUAL(found->xss, 0);
		if (found->subleaf <= 1)
			EQUAL(found->ebx, 576);
	}
	EQUAL(seen, 7);
}

/* The host sees each #GP: the error code stays, and one in the delivery of another exception is #DF. */
TEST(gp_of_other_causes, SEV)
{
	struct __attribute__((packed)) { u16 limit; u64 base; } idt;
	volatile u16 *selector;

	EQUAL(TRY("mov %%ecx, %%ds", OUT(), "c"(0x1000)), GP);
	EQUAL(trap.error, 0x1000);
	EQUAL(TRY("movq (%%rcx), %%rcx", OUT(), "c"(NOT_CANONICAL)), GP);
	EQUAL(trap.error, 0);
	__asm__ volatile("sidt %0" : "=m"(idt));
	selector = (volatile u16 *)(idt.base + 16 * PF + 2);
	*selector = 0x1000;
	EQUAL(TRY("movq (%%rcx), %%rcx", OUT(), "c"(0x8000000000)), 8);
	EQUAL(trap.error, 0);
	*selector = SELECTOR_CODE;
	selector = (volatile u16 *)(idt.base + 16 * UD + 2);
	*selector = 0x1000;
	EQUAL(TRY("ud2", OUT(), "c"(0)), GP);
	EQUAL(trap.error, 0x1000);
	*selector = SELECTOR_CODE;
}
