/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages: PVALIDATE, RMPADJUST, page state changes, and accesses of the wrong kind (APM vol. 2, 15.36). */
#include "guest.h"
#include "svm.h"

#define VC SEV_VECTOR_VC
#define PAGE_A (TEST_AREA + 0x20000)
#define NO_MEMORY 0xD0000000ull
#define BUFFER (GHCB_PAGE + GHCB_SHARED_BUFFER)
#define GUEST_VMPL 2

static u32 read32(u64 address)
{
	u32 value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

#define READ_RAISES(code, address)                                                     \
	do {                                                                           \
		EQUAL(TRY("movl (%%rax), %%eax", OUT(), "a"(address)), VC);            \
		EQUAL(trap.error, code);                                               \
	} while (0)

TEST(pvalidate_carry, VMPL0)
{
	bool carry;

	READ_RAISES(SVM_EXIT_NOT_VALIDATED, PAGE_A); /* assigned on demand, not validated */
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 1, &carry), SEV_SUCCESS);
	CHECK(!carry);
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 1, &carry), SEV_SUCCESS);
	CHECK(carry);
	*(volatile u32 *)PAGE_A = 0x1234;
	EQUAL(read32(PAGE_A), 0x1234);
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 0, &carry), SEV_SUCCESS);
	CHECK(!carry);
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 0, &carry), SEV_SUCCESS);
	CHECK(carry);
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, PAGE_A);
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 1, &carry), SEV_SUCCESS);
	EQUAL(read32(PAGE_A), 0x1234); /* rescinding does not change it */
}

TEST(pvalidate_errors, VMPL0)
{
	bool carry;

	EQUAL(pvalidate(NO_MEMORY, SEV_PAGE_4K, 1, &carry), SEV_FAIL_INPUT);
	EQUAL(pvalidate(SEC_MEMORY, SEV_PAGE_2M, 1, &carry), SEV_FAIL_SIZEMISMATCH); /* its 2 MiB are in 4 KiB entries */
	CHECK(!carry);
	EQUAL(TRY(SEV_OPCODE_PVALIDATE, OUT(), "a"(0x8000000000ull), "c"(0), "d"(1)), 14); /* not mapped */
	EQUAL(trap.rip, trap.start);
}

/* A 2 MiB operation at a 4 KiB page in it: refused, at each VMPL, not done for the whole 2 MiB page. */
TEST(pvalidate_and_rmpadjust_of_2m_need_its_start, VMPL0)
{
	u64 page = 0x1000000; /* mapped with a 2 MiB page, not launched */
	bool carry;

	for (u64 offset = PAGE_SIZE; offset < PAGE_SIZE_2M; offset += 0xFF000) {
		EQUAL(pvalidate(page + offset, SEV_PAGE_2M, 1, &carry), SEV_FAIL_INPUT);
		EQUAL(rmpadjust(page + offset, SEV_PAGE_2M, 1 | SEV_PERM_ALL << 8), SEV_FAIL_INPUT);
		EQUAL(rmpadjust(SEC_MEMORY + offset, SEV_PAGE_2M, 1), SEV_FAIL_INPUT);
	}
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, page);
	EQUAL(pvalidate(page + 0xFFF, SEV_PAGE_2M, 1, &carry), SEV_SUCCESS); /* bits 11:0 are ignored */
	CHECK(!carry);
	EQUAL(pvalidate(page, SEV_PAGE_2M, 0, &carry), SEV_SUCCESS);
	CHECK(!carry);
}

TEST(pvalidate_2m, VMPL0)
{
	bool carry;

	READ_RAISES(SVM_EXIT_NOT_VALIDATED, LARGE_AREA + 0x5000);
	EQUAL(pvalidate(LARGE_AREA, SEV_PAGE_2M, 1, &carry), SEV_SUCCESS);
	CHECK(!carry);
	*(volatile u32 *)(LARGE_AREA + 0x1FF000) = 1;
	EQUAL(pvalidate(LARGE_AREA, SEV_PAGE_2M, 1, &carry), SEV_SUCCESS);
	CHECK(carry);
	EQUAL(pvalidate(LARGE_AREA + 0x3000, SEV_PAGE_4K, 0, &carry), SEV_SUCCESS); /* the hypervisor smashes it */
	EQUAL(pvalidate(LARGE_AREA, SEV_PAGE_2M, 1, &carry), SEV_FAIL_SIZEMISMATCH);
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, LARGE_AREA + 0x3000);
	EQUAL(read32(LARGE_AREA + 0x1FF000), 1);
}

TEST(pvalidate_below_vmpl0, SVSM)
{
	bool carry;

	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 1, &carry), SEV_FAIL_PERMISSION);
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, PAGE_A);
}

TEST(rmpadjust_at_vmpl0, VMPL0)
{
	bool carry;

	pvalidate(PAGE_A, SEV_PAGE_4K, 1, &carry);
	EQUAL(rmpadjust(PAGE_A, SEV_PAGE_4K, 0 | SEV_PERM_ALL << 8), SEV_FAIL_PERMISSION); /* its own VMPL */
	EQUAL(rmpadjust(PAGE_A, SEV_PAGE_4K, 1 | SEV_PERM_ALL << 8), SEV_SUCCESS);
	EQUAL(rmpadjust(PAGE_A, SEV_PAGE_4K, 3 | SEV_PERM_READ << 8), SEV_SUCCESS);
	EQUAL(rmpadjust(PAGE_A, SEV_PAGE_4K, 4 | SEV_PERM_ALL << 8), SEV_FAIL_INPUT);
	EQUAL(rmpadjust(PAGE_A, SEV_PAGE_4K, 0xFF), SEV_FAIL_INPUT);
	EQUAL(rmpadjust(SEC_MEMORY, SEV_PAGE_2M, 1), SEV_FAIL_SIZEMISMATCH);
	EQUAL(rmpadjust(LARGE_AREA, SEV_PAGE_2M, 1 | SEV_RMPADJUST_VMSA), SEV_FAIL_INPUT);
	EQUAL(rmpadjust(NO_MEMORY, SEV_PAGE_4K, 1), SEV_FAIL_INPUT);
	EQUAL(TRY(SEV_OPCODE_RMPADJUST, OUT(), "a"(0x8000000000ull), "c"(0), "d"(1)), 14);
	EQUAL(pvalidate(PAGE_A, SEV_PAGE_4K, 0, &carry), SEV_SUCCESS);
	CHECK(rmpadjust(PAGE_A, SEV_PAGE_4K, 1 | SEV_PERM_ALL << 8) != SEV_SUCCESS); /* not validated */
}

TEST(rmpadjust_at_vmpl2, SVSM)
{
	u64 own = CODE; /* the SVSM granted all permissions but SSS */

	EQUAL(rmpadjust(own, SEV_PAGE_4K, 0), SEV_FAIL_PERMISSION);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, 1), SEV_FAIL_PERMISSION);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, GUEST_VMPL | SEV_PERM_READ << 8), SEV_FAIL_PERMISSION);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, 3 | SEV_PERM_ALL << 8), SEV_SUCCESS);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, 3 | (SEV_PERM_ALL | SEV_PERM_SUPERVISOR_SSS) << 8), SEV_FAIL_PERMISSION);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, 3 | SEV_RMPADJUST_VMSA), SEV_FAIL_PERMISSION);
	EQUAL(rmpadjust(own, SEV_PAGE_4K, 3), SEV_SUCCESS);
}

TEST(psc_by_msr_and_back, SEV)
{
	u64 page = PAGE_A + 0x1000, shared_view = (u64)map_page(TEST_AREA + 0x11000, page, false);

	CHECK(make_private(page));
	*(volatile u32 *)page = 0x11111111;
	CHECK(make_shared(page));
	CHECK(read32(shared_view) != 0x11111111); /* a page that changes its state loses its content */
	*(volatile u32 *)shared_view = 0x22222222;
	CHECK(make_shared(page)); /* again: nothing changes */
	EQUAL(read32(shared_view), 0x22222222);
	CHECK(make_private(page));
	CHECK(read32(page) != 0x22222222);
}

TEST(psc_by_nae, SEV)
{
	volatile u64 *entries = (volatile u64 *)(BUFFER + 8);
	volatile u16 *header = (volatile u16 *)BUFFER;
	u64 page = PAGE_A + 0x4000;

	for (u32 i = 0; i < 3; i++)
		entries[i] = (u64)NAE_PSC_SHARED << NAE_PSC_OP_SHIFT | (page + i * PAGE_SIZE);
	header[0] = 0;
	header[1] = 2;
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), 0);
	EQUAL(header[0], 3); /* past the last one */
	EQUAL(header[1], 2);
	for (u32 i = 0; i < 3; i++)
		read32((u64)map_page(TEST_AREA + 0x11000, page + i * PAGE_SIZE, false));
}

TEST(psc_bad_header, SEV)
{
	volatile u16 *header = (volatile u16 *)BUFFER;

	for (u32 end = NAE_PSC_ENTRIES; end < 0x10000; end += end == NAE_PSC_ENTRIES ? 1 : 0x7F01) {
		header[0] = 0;
		header[1] = (u16)end;
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
		EQUAL(nae_info2(), NAE_PSC_ERR_HEADER);
	}
	header[0] = 0xFFFF; /* past the end: nothing to do */
	header[1] = 0;
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), 0);
	header[0] = 0; /* entries past the shared buffer's end */
	header[1] = 1;
	ghcb_set(GHCB_SW_SCRATCH, BUFFER + GHCB_SHARED_BUFFER_SIZE - 16);
	*(volatile a16 *)(BUFFER + GHCB_SHARED_BUFFER_SIZE - 14) = 1;
	EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_MALFORMED);
	EQUAL(nae_info2(), NAE_ERR_INVALID_SCRATCH);
}

TEST(psc_bad_entries, SEV)
{
	static const u64 bad[] = {
		0ull << 52 | PAGE_A,
		5ull << 52 | PAGE_A,
		15ull << 52 | PAGE_A,
		(u64)NAE_PSC_SHARED << 52 | 0x7000000000,
		(u64)NAE_PSC_SHARED << 52 | 0x000FFFFFFFFFF000,
		(u64)NAE_PSC_SHARED << 52 | NAE_PSC_2M | PAGE_A,   /* not at a 2 MiB boundary */
		(u64)NAE_PSC_PRIVATE << 52 | NAE_PSC_2M | 0x8000000000,
		(u64)NAE_PSC_PSMASH << 52 | PAGE_A, /* of a 4 KiB page */
	};
	volatile u64 *entries = (volatile u64 *)(BUFFER + 8);
	volatile u16 *header = (volatile u16 *)BUFFER;

	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		header[0] = 0;
		header[1] = 2;
		entries[0] = (u64)NAE_PSC_SHARED << 52 | BUFFER_PAGE;
		entries[1] = bad[i];
		entries[2] = (u64)NAE_PSC_SHARED << 52 | BUFFER_PAGE;
		ghcb_set(GHCB_SW_SCRATCH, BUFFER);
		EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
		EQUAL(nae_info2(), NAE_PSC_ERR_ENTRY);
		EQUAL(header[0], 1); /* the one that failed */
	}
}

TEST(psc_2m_and_smash, VMPL0)
{
	volatile u64 *entries = (volatile u64 *)(BUFFER + 8);
	volatile u16 *header = (volatile u16 *)BUFFER;
	bool carry;

	entries[0] = (u64)NAE_PSC_SHARED << 52 | NAE_PSC_2M | LARGE_AREA;
	entries[1] = (u64)NAE_PSC_PRIVATE << 52 | NAE_PSC_2M | LARGE_AREA;
	header[0] = 0;
	header[1] = 1;
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), 0);
	EQUAL(pvalidate(LARGE_AREA, SEV_PAGE_2M, 1, &carry), SEV_SUCCESS);
	CHECK(!carry);
	entries[0] = (u64)NAE_PSC_PSMASH << 52 | NAE_PSC_2M | LARGE_AREA;
	header[0] = 0;
	header[1] = 0;
	ghcb_set(GHCB_SW_SCRATCH, BUFFER);
	EQUAL(nae(NAE_PSC, 0, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), 0);
	EQUAL(pvalidate(LARGE_AREA, SEV_PAGE_2M, 1, &carry), SEV_FAIL_SIZEMISMATCH);
	EQUAL(pvalidate(LARGE_AREA + 0x1000, SEV_PAGE_4K, 1, &carry), SEV_SUCCESS);
	CHECK(carry);
}

/* The hypervisor converts the page at such an access (KVM), and its content is lost. */
TEST(shared_access_to_a_private_page, SEV)
{
	u64 page = PAGE_A + 0x8000, shared_view = (u64)map_page(TEST_AREA + 0x12000, page, false);

	CHECK(make_private(page));
	*(volatile u32 *)page = 0x33333333;
	CHECK(read32(shared_view) != 0x33333333);
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, page);
}

TEST(private_access_to_a_shared_page, SEV)
{
	u64 page = PAGE_A + 0xA000;

	CHECK(make_shared(page));
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, page);
	EQUAL(TRY("movl %%eax, (%%rax)", OUT(), "a"(page)), VC);
	EQUAL(trap.error, SVM_EXIT_NOT_VALIDATED);
}

TEST(private_access_to_a_page_never_validated, SEV)
{
	READ_RAISES(SVM_EXIT_NOT_VALIDATED, PAGE_A + 0xB000);
	EQUAL(trap.rip, trap.start);
}

TEST(launch_pages, SEV)
{
	CHECK(read32(CPUID_PAGE) > 10 && read32(CPUID_PAGE) <= 64);
}

static bool equal_keys(u32 a, u32 b)
{
	for (u32 i = 0; i < SNP_VMPCK_SIZE; i++) {
		if (secrets()->vmpck[a][i] != secrets()->vmpck[b][i])
			return false;
	}
	return true;
}

TEST(secrets_page, SEV)
{
	u32 own = parameters->mode == SVSM ? GUEST_VMPL : 0;

	EQUAL(secrets()->version, SNP_SECRETS_VERSION);
	EQUAL(secrets()->imi_en, 0);
	EQUAL(secrets()->fms, cpuid_or_nae(1).eax);
	for (u32 key = 0; key < SNP_VMPCKS; key++) { /* the SVSM keeps those of the VMPLs above the guest's */
		EQUAL(any_bit(secrets()->vmpck[key], SNP_VMPCK_SIZE), key >= own);
		CHECK(key < own || key == 0 || !equal_keys(key, key - 1));
	}
	EQUAL(any_bit(secrets()->guest_os, sizeof(secrets()->guest_os)), false);
	EQUAL(any_bit(secrets()->vmsa_tweak_bitmap, sizeof(secrets()->vmsa_tweak_bitmap)), false);
	EQUAL(secrets()->tsc_factor, 0);
	EQUAL(any_bit(secrets()->reserved3, sizeof(secrets()->reserved3)), false);
	EQUAL(secrets()->svsm_caa, own ? CAA_PAGE : 0);
	EQUAL(secrets()->svsm_max_version, own ? 1 : 0);
	EQUAL(secrets()->svsm_guest_vmpl, own);
	EQUAL(secrets()->svsm_size != 0, own != 0);
	EQUAL(secrets()->svsm_base != 0, own != 0);
}

TEST(legacy_memory, PLAIN)
{
	*(volatile u32 *)0x90000 = 0x55AA55AA;
	EQUAL(read32(0x90000), 0x55AA55AA);
	EQUAL(read32(0xFFFF0) & 0xFF, read32(0xFFFFFFF0) & 0xFF); /* the firmware's last 128 KiB below 1 MiB */
}

#define RET 0xC3

/* APM vol. 2, 15.34.5: code and page tables are private for any C-bit. */
TEST(an_instruction_fetch_is_private, SEV)
{
	u64 page = PAGE_A + 0x18000;
	volatile u8 *code = (volatile u8 *)page;
	void (*shared_view)(void);

	CHECK(make_private(page));
	*code = RET;
	shared_view = (void (*)(void))(u64)map_page(TEST_AREA + 0x15000, page, false);
	EQUAL(TRY("call *%%rax", OUT(), "a"(shared_view)), NO_TRAP);
	EQUAL(*code, RET); /* still private */
}
