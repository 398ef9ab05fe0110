/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events: the requirements on the GHCB, and each event (publication 56421, section 4). */
#include "guest.h"
#include "svm.h"

#define MALFORMED(code, info1, info2, why)                           \
	do {                                                         \
		EQUAL(nae(code, info1, info2), NAE_RESULT_MALFORMED); \
		EQUAL(nae_info2(), why);                             \
	} while (0)
#define BUFFER (GHCB_PAGE + GHCB_SHARED_BUFFER)

/* As KVM: where it cannot read the GHCB, the guest goes on without an answer. */
TEST(ghcb_where_there_is_no_memory, SEV)
{
	static const u64 nowhere[] = { 0, 0x7000000000, 0xFEE00000, 0x000FFFFFFFFFF000 };

	for (u32 i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		wrmsr(SEV_MSR_GHCB, nowhere[i]);
		vmgexit();
		EQUAL(rdmsr(SEV_MSR_GHCB), nowhere[i]);
	}
	EQUAL(nae(NAE_HV_FEATURES, 0, 0), NAE_RESULT_OK);
}

TEST(ghcb_registered_and_private, SEV)
{
	u64 page = TEST_AREA + 0x1F000;

	CHECK(make_private(page));
	EQUAL(msr_protocol(page | GHCB_MSR_REG_GPA_REQ), page | GHCB_MSR_REG_GPA_RESP);
	for (u32 i = 0; i < PAGE_SIZE; i += 8)
		*(volatile a64 *)(page + i) = ~0ull;
	wrmsr(SEV_MSR_GHCB, page);
	vmgexit();
	for (u32 i = 0; i < PAGE_SIZE; i += 8)
		EQUAL(*(volatile a64 *)(page + i), ~0ull);
	EQUAL(msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ), GHCB_PAGE | GHCB_MSR_REG_GPA_RESP);
	EQUAL(nae(NAE_HV_FEATURES, 0, 0), NAE_RESULT_OK);
}

TEST(ghcb_usage, SEV)
{
	*(volatile a32 *)(GHCB_PAGE + GHCB_USAGE) = 1;
	MALFORMED(NAE_HV_FEATURES, 0, 0, NAE_ERR_INVALID_USAGE);
	*(volatile a32 *)(GHCB_PAGE + GHCB_USAGE) = 0;
}

TEST(ghcb_exit_fields_have_to_be_valid, SEV)
{
	static const u32 fields[] = { GHCB_SW_EXITCODE, GHCB_SW_EXITINFO1, GHCB_SW_EXITINFO2 };

	for (u32 missing = 0; missing < 3; missing++) {
		ghcb_clear();
		*(volatile a64 *)(GHCB_PAGE + GHCB_SW_EXITCODE) = NAE_HV_FEATURES;
		for (u32 i = 0; i < 3; i++) {
			if (i != missing)
				ghcb_set(fields[i], i ? 0 : NAE_HV_FEATURES);
		}
		EQUAL(nae_raw(), NAE_RESULT_MALFORMED);
		EQUAL(nae_info2(), NAE_ERR_MISSING_INPUT);
	}
}

TEST(ghcb_answer_marks_what_it_gives, SEV)
{
	ghcb_set(GHCB_RBX, 1);
	ghcb_set(GHCB_R15, 1);
	ghcb_set(GHCB_RAX, 0);
	ghcb_set(GHCB_RCX, 0);
	EQUAL(nae(NAE_CPUID, 0, 0), NAE_RESULT_OK);
	CHECK(ghcb_valid(GHCB_RAX) && ghcb_valid(GHCB_RBX) && ghcb_valid(GHCB_RCX) && ghcb_valid(GHCB_RDX));
	CHECK(ghcb_valid(GHCB_SW_EXITINFO1) && ghcb_valid(GHCB_SW_EXITINFO2));
	CHECK(!ghcb_valid(GHCB_R15));
}

TEST(nae_unknown_events, SEV)
{
	static const u64 unknown[] = { 0, 0x46, 0x71, 0x80000006, 0x80000016, 0x8000001E, 0x8000FFFC, 0x180000013, ~0ull };

	for (u32 i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		MALFORMED(unknown[i], 0, 0, NAE_ERR_INVALID_EVENT);
}

TEST(nae_missing_registers, SEV)
{
	MALFORMED(NAE_CPUID, 0, 0, NAE_ERR_MISSING_INPUT);
	ghcb_set(GHCB_RAX, 0);
	MALFORMED(NAE_CPUID, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_MSR, NAE_MSR_READ, 0, NAE_ERR_MISSING_INPUT);
	ghcb_set(GHCB_RCX, MSR_EFER);
	ghcb_set(GHCB_RAX, 0);
	MALFORMED(NAE_MSR, NAE_MSR_WRITE, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_IOIO, 0x80ull << NAE_IOIO_PORT_SHIFT | NAE_IOIO_SIZE_8, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_DR7_WRITE, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_APIC_IDS, BUFFER_PAGE, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_AP_CREATION, NAE_AP_CREATE, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_VMMCALL, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_MMIO_READ, 0xFEC00000, 4, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_MMIO_WRITE, 0xFEC00000, 4, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_PSC, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_RDPMC, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_MONITOR, 0, 0, NAE_ERR_MISSING_INPUT);
	MALFORMED(NAE_MWAIT, 0, 0, NAE_ERR_MISSING_INPUT);
}

TEST(nae_scratch_outside_the_shared_buffer, SEV)
{
	static const u64 bad[] = {
		GHCB_PAGE, GHCB_PAGE + GHCB_VALID_BITMAP, BUFFER - 8, BUFFER + GHCB_SHARED_BUFFER_SIZE - 4, GHCB_PAGE + 0xFF8,
		BUFFER_PAGE, 0x808000, 0xFEE00000, 0x7000000000, ~0ull - 3, ~0ull,
	};

	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ghcb_set(GHCB_SW_SCRATCH, bad[i]);
		MALFORMED(NAE_MMIO_READ, 0xFEC00000, 8, NAE_ERR_INVALID_SCRATCH);
		ghcb_set(GHCB_SW_SCRATCH, bad[i]);
		MALFORMED(NAE_PSC, 0, 0, NAE_ERR_INVALID_SCRATCH);
		ghcb_set(GHCB_SW_SCRATCH, bad[i]);
		MALFORMED(NAE_IOIO, 0x511ull << 16 | NAE_IOIO_SIZE_8 | NAE_IOIO_STRING | NAE_IOIO_IN, 16, NAE_ERR_INVALID_SCRATCH);
	}
}

TEST(nae_cpuid, SEV)
{
	ghcb_set(GHCB_RAX, SEV_CPUID_LEAF);
	ghcb_set(GHCB_RCX, 0);
	EQUAL(nae(NAE_CPUID, 0, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RBX) & SEV_CPUID_EBX_CBIT_MASK, parameters->cbit);
	CHECK(ghcb_get(GHCB_RAX) & SEV_CPUID_EAX_SNP);
	EQUAL(!!(ghcb_get(GHCB_RAX) & SEV_CPUID_EAX_SVSM_MSR), parameters->mode == SVSM);
}

TEST(cpuid_linear_addresses_have_48_bits, ALL) /* only the host itself uses five-level paging */
{
	EQUAL(cpuid_or_nae(0x80000008).eax >> 8 & 0xFF, 48);
}

TEST(cpuid_offers_xsave_and_avx, ALL)
{
	const u32 of_xsave = BIT(12) | BIT(26) | BIT(28) | BIT(29); /* FMA, XSAVE, AVX, F16C */
	u64 cr4;

	EQUAL(cpuid_or_nae(1).ecx & of_xsave, of_xsave);
	CHECK(cpuid_or_nae(0).eax >= 0xD);
	CHECK(cpuid_or_nae(7).ebx & BIT(5)); /* AVX2 */
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	for (u32 i = 0; i < 2; i++, cr4 ^= BIT(18)) {
		__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
		EQUAL(!!(cpuid_or_nae(1).ecx & BIT(27)), !!(cr4 & BIT(18))); /* OSXSAVE */
	}
}

/* Whether the instruction gives what the NAE event does; where it becomes #VC, vc_cpuid is about it. */
static bool cpuid_is_as_by_nae(u32 leaf, u32 subleaf, u32 xcr0)
{
	u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
	u64 raised = TRY("cpuid", OUT("=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)), "a"(leaf), "c"(subleaf));

	if (raised == SEV_VECTOR_VC)
		return true;
	ghcb_set(GHCB_RAX, leaf);
	ghcb_set(GHCB_RCX, subleaf);
	ghcb_set(GHCB_XCR0, xcr0);
	return raised == NO_TRAP && nae(NAE_CPUID, 0, 0) == NAE_RESULT_OK && eax == (u32)ghcb_get(GHCB_RAX) &&
	       ebx == (u32)ghcb_get(GHCB_RBX) && ecx == (u32)ghcb_get(GHCB_RCX) && edx == (u32)ghcb_get(GHCB_RDX);
}

TEST(cpuid_by_instruction_is_as_by_nae, SEV)
{
	static const u32 leaves[] = { 0, 1, 5, 6, 7, 0xB, 0x1F, 0x40000000, 0x40000001, 0x80000000, 0x80000001, 0x80000008,
				      0x8000000A, 0x8000001E, SEV_CPUID_LEAF, 0x80000021, 0x90000000 };
	u64 cr4;

	for (u32 i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		for (u32 subleaf = 0; subleaf < 3; subleaf++)
			EQUAL(cpuid_is_as_by_nae(leaves[i], subleaf, 1) ? 0 : leaves[i] + 1, 0);
	}
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | BIT(18))); /* OSXSAVE, for XSETBV */
	for (u32 xcr0 = 1; xcr0 < 8; xcr0 = xcr0 * 2 + 1) {
		__asm__ volatile("xsetbv" : : "a"(xcr0), "d"(0), "c"(0));
		for (u32 subleaf = 0; subleaf < 3; subleaf++)
			CHECK(cpuid_is_as_by_nae(0xD, subleaf, xcr0));
	}
	__asm__ volatile("xsetbv" : : "a"(1), "d"(0), "c"(0));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
}

TEST(nae_msr_refused, SEV)
{
	static const u32 refused[] = { 0xC0010114, 0xC0010117, SEV_MSR_GHCB, SEV_MSR_STATUS, SEV_MSR_SVSM_CAA, 0x80F, 0x830 };

	for (u32 i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		ghcb_set(GHCB_RCX, refused[i]);
		EQUAL(nae(NAE_MSR, NAE_MSR_READ, 0), NAE_RESULT_EXCEPTION);
		EQUAL(nae_info2(), NAE_EVENTINJ_GP);
		CHECK(!ghcb_valid(GHCB_RAX) && !ghcb_valid(GHCB_RDX));
		ghcb_set(GHCB_RCX, refused[i]);
		ghcb_set(GHCB_RAX, 0);
		ghcb_set(GHCB_RDX, 0);
		EQUAL(nae(NAE_MSR, NAE_MSR_WRITE, 0), NAE_RESULT_EXCEPTION);
		EQUAL(nae_info2(), NAE_EVENTINJ_GP);
	}
}

TEST(nae_msr_efer_cannot_leave_long_mode, SEV)
{
	u64 before, after;

	CHECK(msr_in(MSR_EFER, &before));
	CHECK(!msr_out(MSR_EFER, before & ~0x500ull));
	for (u32 bit = 0; bit < 64; bit++) { /* reserved ones: VMRUN would refuse them */
		if (1ull << bit & ~0xFD01ull)
			CHECK(!msr_out(MSR_EFER, before | 1ull << bit));
	}
	CHECK(msr_in(MSR_EFER, &after));
	EQUAL(after, before);
	CHECK(msr_out(MSR_EFER, before | 0x801)); /* NXE, SCE */
	CHECK(msr_out(MSR_EFER, before));
}

TEST(nae_msr_mtrr, SEV)
{
	u64 value;

	CHECK(msr_out(0x200, 0x12345000));
	CHECK(msr_in(0x200, &value));
	EQUAL(value, 0x12345000);
	CHECK(!msr_out(0x200, 0x12345002)); /* KVM: kvm_mtrr_valid */
	CHECK(!msr_out(0x200, 0x12345106));
	CHECK(!msr_out(0x200, 1ull << 52));
	CHECK(!msr_out(0x201, 0x400));
	CHECK(!msr_out(0x250, 0x0606060606060602));
	CHECK(!msr_out(0x2FF, 0x1006));
	CHECK(!msr_out(0x400, 1)); /* set_msr_mce */
	CHECK(!msr_out(0x401, 1));
	CHECK(msr_in(0x200, &value));
	EQUAL(value, 0x12345000);
	CHECK(msr_out(0x201, 0xFFFFF00800));
	CHECK(msr_out(0x201, 0));
	CHECK(msr_out(0x200, 0));
}

static u64 port(u16 number, u64 size) { return (u64)number << NAE_IOIO_PORT_SHIFT | NAE_IOIO_ADDRESS_64 | size << 4; }

TEST(nae_ioio_sizes, SEV)
{
	ghcb_set(GHCB_RAX, 0x80000000); /* PCI configuration: bus 0, device 0, register 0 */
	EQUAL(nae(NAE_IOIO, port(0xCF8, 4), 0), NAE_RESULT_OK);
	EQUAL(nae(NAE_IOIO, port(0xCFC, 4) | NAE_IOIO_IN, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), 0x29C08086); /* Q35's host bridge */
	EQUAL(nae(NAE_IOIO, port(0xCFC, 2) | NAE_IOIO_IN, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), 0x8086);
	EQUAL(nae(NAE_IOIO, port(0xCFF, 1) | NAE_IOIO_IN, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), 0x29);
	for (u64 size = 0; size < 8; size++) {
		if (size != 1 && size != 2 && size != 4)
			MALFORMED(NAE_IOIO, port(0xCFC, size) | NAE_IOIO_IN, 0, NAE_ERR_INVALID_INPUT);
	}
}

TEST(nae_ioio_strings, SEV)
{
	volatile u8 *buffer = (volatile u8 *)BUFFER;
	u64 info = port(0x511, 1) | NAE_IOIO_STRING | NAE_IOIO_REP | NAE_IOIO_IN;

	io_out(0x510, 2, 0); /* fw_cfg: signature */
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	buffer[4] = 0x77;
	EQUAL(nae(NAE_IOIO, info, 4), NAE_RESULT_OK);
	EQUAL(*(volatile a32 *)buffer, 0x554D4551); /* QEMU */
	EQUAL(buffer[4], 0x77);
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	EQUAL(nae(NAE_IOIO, info, 0), NAE_RESULT_OK);
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	CHECK(nae(NAE_IOIO, info, GHCB_SHARED_BUFFER_SIZE + 1) == NAE_RESULT_MALFORMED);
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	CHECK(nae(NAE_IOIO, port(0x510, 4) | NAE_IOIO_STRING | NAE_IOIO_IN, GHCB_SHARED_BUFFER_SIZE / 4 + 1) == NAE_RESULT_MALFORMED);
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	CHECK(nae(NAE_IOIO, info, ~0ull) == NAE_RESULT_MALFORMED);
	MALFORMED(NAE_IOIO, info, 1, NAE_ERR_MISSING_INPUT);
}

TEST(hidden_ports, ALL)
{
	EQUAL(io_in(0xA00, 4), 0); /* memory hotplug: no slot enabled */
	EQUAL(io_in(0xA14, 1), 0);
	EQUAL(io_in(DOORBELL_PORT, 1), 0xFF); /* the device itself would answer E9 */
	EQUAL(io_in(DOORBELL_PORT - 1, 2), 0xFFFF);
	io_out(DOORBELL_PORT, 1, 'x');
	if (parameters->mode == SVSM)
		EQUAL(io_in(SVSM_CONSOLE_PORT + 5, 1), 0xFF); /* line status of the UART */
}

TEST(nae_mmio_of_no_bytes, SEV)
{
	static const u64 events[] = { NAE_MMIO_READ, NAE_MMIO_WRITE };

	for (u32 i = 0; i < 2; i++) {
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		*(volatile a64 *)BUFFER = 0x1122334455667788;
		EQUAL(nae(events[i], 0xFEC00000, 0), NAE_RESULT_OK);
		EQUAL(*(volatile a64 *)BUFFER, 0x1122334455667788);
		ghcb_set(GHCB_SW_SCRATCH, BUFFER_PAGE);
		MALFORMED(events[i], 0xFEC00000, 0, NAE_ERR_INVALID_SCRATCH);
	}
}

/* Lengths that no instruction has: as if in pieces. */
TEST(nae_mmio_lengths, SEV)
{
	static const u64 lengths[] = { 3, 5, 6, 7, 9, 31, 0x7F0 }, words[] = { 4, 8, 12, 16, 20 }; /* HPET: no bytes */
	static const u64 bad[] = { 0x7F1, 1ull << 32, ~0ull };
	const u64 hpet = 0xFED00000;

	mmio_out(hpet + 0x108, 4, 0x44332211); /* timer 0's comparator, which does not run */
	mmio_out(hpet + 0x10C, 4, 0);
	for (u32 i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		if (lengths[i] < GHCB_SHARED_BUFFER_SIZE)
			*(volatile u8 *)(BUFFER + lengths[i]) = 0x5A;
		EQUAL(nae(NAE_MMIO_READ, hpet + 0x108, lengths[i]), NAE_RESULT_OK);
		if (lengths[i] < GHCB_SHARED_BUFFER_SIZE)
			EQUAL(*(volatile u8 *)(BUFFER + lengths[i]), 0x5A);
	}
	for (u32 i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		*(volatile u8 *)(BUFFER + words[i]) = 0x5A;
		EQUAL(nae(NAE_MMIO_READ, hpet + 0x10C - words[i], words[i]), NAE_RESULT_OK);
		EQUAL(*(volatile u8 *)(BUFFER + words[i]), 0x5A);
		EQUAL(*(volatile a32 *)(BUFFER + words[i] - 4), 0x44332211);
	}
	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		MALFORMED(NAE_MMIO_READ, hpet, bad[i], NAE_ERR_INVALID_SCRATCH);
	}
}

TEST(mmio_ioapic, ALL)
{
	mmio_out(0xFEC00000, 4, 1);
	EQUAL(mmio_in(0xFEC00010, 4) >> 16 & 0xFF, 23); /* version register: 24 entries */
}

TEST(mmio_hpet, ALL)
{
	EQUAL(mmio_in(0xFED00000, 8) >> 32, 10000000); /* period in fs: 100 MHz */
	EQUAL(mmio_in(0xFED00004, 4), 10000000);
}

TEST(mmio_apic, ALL)
{
	EQUAL(mmio_in(0xFEE00030, 4), 0x50014);
	mmio_out(0xFEE00080, 4, 0x30);
	EQUAL(mmio_in(0xFEE00080, 4), 0x30);
	mmio_out(0xFEE00080, 4, 0);
	EQUAL(mmio_in(0xFEE00080, 4), 0);
}

/* The host's memory, its log, its image, the guest's memory, and invalid bus addresses. */
TEST(nae_mmio_hidden_memory, SEV)
{
	static const u64 hidden[] = {
		0x100000000, 0x100000000 - 4, 0x108000000, 0x108200000, IMAGE_BASE - 0x10000, 0xFFFDF000, 0xFFFFFFF8, 0x808000, 0x1000, GHCB_PAGE,
		0xC0000, 0xFEE00FFC, 0xFFFFFFFFFC, 0x10000000000, BIT(48) | APIC_DEFAULT_BASE, 0xFFFFFFFF80000000, ~0ull - 3, ~0ull,
	};

	for (u32 i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		mmio_out(hidden[i], 8, 0);
		if (hidden[i] != 0xFEE00FFC)
			EQUAL(mmio_in(hidden[i], 8), ~0ull);
	}
	CHECK(*(volatile u32 *)0x808000);
}

TEST(nae_mmio_across_the_apic_page, SEV) /* QEMU's own APIC is there: it must not answer */
{
	static const u64 across[] = { 0xFEDFFFFC, 0xFEE00FFC };

	for (u32 i = 0; i < 2; i++)
		EQUAL(mmio_in(across[i], 8), ~0ull);
}

TEST(nae_rdtsc, SEV)
{
	u64 before = rdtsc(), tsc;

	EQUAL(nae(NAE_RDTSC, 0, 0), NAE_RESULT_OK);
	tsc = ghcb_get(GHCB_RAX) | ghcb_get(GHCB_RDX) << 32;
	CHECK(tsc >= before && tsc <= rdtsc()); /* they may be equal: the TSC may count in large steps */
	EQUAL(nae(NAE_RDTSCP, 0, 0), NAE_RESULT_OK);
	CHECK(ghcb_valid(GHCB_RCX));
	CHECK((ghcb_get(GHCB_RAX) | ghcb_get(GHCB_RDX) << 32) >= tsc);
}

TEST(nae_rdpmc_is_refused, SEV)
{
	ghcb_set(GHCB_RCX, 0);
	EQUAL(nae(NAE_RDPMC, 0, 0), NAE_RESULT_EXCEPTION);
	EQUAL(nae_info2(), NAE_EVENTINJ_GP);
}

TEST(nae_without_effect, SEV)
{
	EQUAL(nae(NAE_WBINVD, 0, 0), NAE_RESULT_OK);
	EQUAL(nae(NAE_INVD, 0, 0), NAE_RESULT_OK);
	EQUAL(nae(NAE_NMI_COMPLETE, 0, 0), NAE_RESULT_OK);
	ghcb_set(GHCB_RAX, 0);
	ghcb_set(GHCB_RCX, 0);
	ghcb_set(GHCB_RDX, 0);
	EQUAL(nae(NAE_MONITOR, 0, 0), NAE_RESULT_OK);
	ghcb_set(GHCB_RAX, 0);
	ghcb_set(GHCB_RCX, 0);
	EQUAL(nae(NAE_MWAIT, 0, 0), NAE_RESULT_OK);
	ghcb_set(GHCB_RAX, 0x1234);
	ghcb_set(GHCB_CPL & ~7u, 0);
	EQUAL(nae(NAE_VMMCALL, 0, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), (u64)-1000);
}

static volatile u64 breakpoint_hits;
static void at_breakpoint(u8 vector) { breakpoint_hits += vector == 1; }

TEST(nae_dr7_is_kept_and_arms_nothing, SEV)
{
	static volatile u8 target;

	ghcb_set(GHCB_RAX, 0x401);
	EQUAL(nae(NAE_DR7_WRITE, 0, 0), NAE_RESULT_OK);
	EQUAL(nae(NAE_DR7_READ, 0, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), 0x401);
	breakpoint_hits = 0;
	on_interrupt = at_breakpoint;
	trap_as_interrupt(1, true);
	/* DR7 L0: data writes of 1 byte at DR0. DR0 is set after DR7 and before it. */
	ghcb_set(GHCB_RAX, 0x10401);
	EQUAL(nae(NAE_DR7_WRITE, 0, 0), NAE_RESULT_OK);
	__asm__ volatile("mov %0, %%db0" : : "r"(&target));
	target = 1;
	EQUAL(nae(NAE_HV_FEATURES, 0, 0), NAE_RESULT_OK);
	target = 2;
	ghcb_set(GHCB_RAX, 0x400);
	EQUAL(nae(NAE_DR7_WRITE, 0, 0), NAE_RESULT_OK);
	trap_as_interrupt(1, false);
	EQUAL(breakpoint_hits, 0);
}

TEST(nae_ap_jump_table, SEV)
{
	EQUAL(nae(NAE_AP_JUMP_TABLE, NAE_AP_JUMP_TABLE_SET, 0x123000), NAE_RESULT_OK);
	EQUAL(nae(NAE_AP_JUMP_TABLE, NAE_AP_JUMP_TABLE_GET, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), 0x123000);
	MALFORMED(NAE_AP_JUMP_TABLE, 2, 0, NAE_ERR_INVALID_INPUT);
}

TEST(nae_apic_ids, SEV)
{
	ghcb_set(GHCB_RAX, 0);
	EQUAL(nae(NAE_APIC_IDS, BUFFER_PAGE, 0), NAE_RESULT_OK);
	EQUAL(ghcb_get(GHCB_RAX), 1); /* pages that the list needs */
	ghcb_set(GHCB_RAX, 1);
	EQUAL(nae(NAE_APIC_IDS, BUFFER_PAGE, 0), NAE_RESULT_OK);
	EQUAL(*(volatile a32 *)BUFFER_PAGE, 1);
	EQUAL(*(volatile a32 *)(BUFFER_PAGE + 4), 0);
	ghcb_set(GHCB_RAX, 1);
	MALFORMED(NAE_APIC_IDS, 0x808000, 0, NAE_ERR_INVALID_INPUT); /* a private page */
	ghcb_set(GHCB_RAX, ~0ull);
	MALFORMED(NAE_APIC_IDS, ~0ull, 0, NAE_ERR_INVALID_INPUT);
}

TEST(nae_ap_creation_refused, SEV)
{
	static const struct {
		u64 info1, vmsa;
	} bad[] = {
		{ NAE_AP_CREATE | 1ull << NAE_AP_APIC_ID_SHIFT | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 }, /* no such vCPU */
		{ NAE_AP_CREATE | 0xFFFFFFFFull << NAE_AP_APIC_ID_SHIFT | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 },
		{ NAE_AP_CREATE | 4 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 }, /* no such VMPL */
		{ NAE_AP_CREATE | 15 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 },
		{ NAE_AP_CREATE | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2008 }, /* not a page */
		{ NAE_AP_CREATE | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA },          /* 2 MiB aligned: KVM refuses it because of an erratum */
		{ NAE_AP_CREATE | 3 << NAE_AP_VMPL_SHIFT, 0x7000000000 },       /* no memory */
		{ NAE_AP_CREATE | 3 << NAE_AP_VMPL_SHIFT, ~0xFFFull },
		{ 3 | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 }, /* no such operation */
		{ 0xFFFF | 3 << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000 },
	};
	u64 own = parameters->mode == SVSM ? 2 : 0;

	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ghcb_set(GHCB_RAX, SEV_FEATURES_SNP);
		MALFORMED(NAE_AP_CREATION, bad[i].info1, bad[i].vmsa, NAE_ERR_INVALID_INPUT);
	}
	for (u64 vmpl = 0; vmpl <= own; vmpl++) { /* the VMPL it runs at, and more privileged ones */
		ghcb_set(GHCB_RAX, SEV_FEATURES_SNP);
		MALFORMED(NAE_AP_CREATION, NAE_AP_CREATE | vmpl << NAE_AP_VMPL_SHIFT, TEST_AREA + 0x2000, NAE_ERR_INVALID_INPUT);
		MALFORMED(NAE_AP_CREATION, NAE_AP_DESTROY | vmpl << NAE_AP_VMPL_SHIFT, 0, NAE_ERR_INVALID_INPUT);
	}
}

TEST(nae_run_vmpl_refused, SEV)
{
	for (u64 vmpl = parameters->mode == SVSM ? 1 : 0; vmpl < 8; vmpl++)
		MALFORMED(NAE_RUN_VMPL, vmpl, 0, NAE_ERR_INVALID_INPUT);
	MALFORMED(NAE_RUN_VMPL, 0xFFFFFFFF, 0, NAE_ERR_INVALID_INPUT);
}

TEST(nae_run_vmpl_reaches_the_svsm, SVSM)
{
	ghcb_set(GHCB_RBX, 0);
	EQUAL(nae(NAE_RUN_VMPL, 0, 0), NAE_RESULT_OK); /* no call is pending: the SVSM returns at once */
	CHECK(ghcb_valid(GHCB_SW_EXITINFO1) && ghcb_valid(GHCB_SW_EXITINFO2));
	CHECK(!ghcb_valid(GHCB_RBX));
}
