/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The GHCB MSR protocol (publication 56421, section 2.3.1). */
#include "guest.h"

#define ERROR_OF(answer) ((answer) >> GHCB_MSR_ERROR_SHIFT)
#define NO_SUCH_GPA 0x7000000000ull
#define CODE_PAGES (TEST_AREA + 0x3E000)

TEST(msr_protocol_sev_information, SEV)
{
	u64 answer = msr_protocol(GHCB_MSR_SEV_INFO_REQ);

	EQUAL(answer & GHCB_MSR_INFO_MASK, GHCB_MSR_SEV_INFO_RESP);
	EQUAL(answer >> GHCB_MSR_SEV_INFO_CBIT_SHIFT & 0xFF, parameters->cbit);
	CHECK((answer >> GHCB_MSR_SEV_INFO_MIN_SHIFT & 0xFFFF) <= GHCB_VERSION_SNP);
	CHECK(answer >> GHCB_MSR_SEV_INFO_MAX_SHIFT >= GHCB_VERSION_SNP);
}

TEST(msr_protocol_cpuid_gives_each_register, SEV)
{
	static const u32 offset[] = { GHCB_RAX, GHCB_RBX, GHCB_RCX, GHCB_RDX };

	for (u64 number = 0; number < 4; number++) {
		u64 answer = msr_protocol(0x80000001ull << GHCB_MSR_CPUID_VALUE_SHIFT | number << GHCB_MSR_CPUID_REG_SHIFT | GHCB_MSR_CPUID_REQ);

		ghcb_clear();
		ghcb_set(GHCB_RAX, 0x80000001);
		ghcb_set(GHCB_RCX, 0);
		EQUAL(nae(NAE_CPUID, 0, 0), NAE_RESULT_OK);
		EQUAL(answer, ghcb_get(offset[number]) << 32 | number << GHCB_MSR_CPUID_REG_SHIFT | GHCB_MSR_CPUID_RESP);
	}
}

/* Flags that the instruction right before has set, and one that a comparison of registers would not set. */
#define FLAGS_AFTER(number, left, right)                                                                     \
	({                                                                                                   \
		u64 flags;                                                                                   \
		__asm__ volatile("cmpl %2, %1\n\tmovl %3, %%ecx\n\trdmsr\n\tpushfq\n\tpopq %0"               \
				 : "=r"(flags)                                                               \
				 : "r"((u32)(left)), "r"((u32)(right)), "i"(number)                          \
				 : "eax", "ecx", "edx", "cc");                                               \
		flags & (RFLAGS_CF | RFLAGS_ZF | RFLAGS_SF);                                                 \
	})

TEST(rdmsr_keeps_the_flags, SEV)
{
	for (u32 i = 0; i < 2; i++) {
		EQUAL(FLAGS_AFTER(SEV_MSR_GHCB, 1, 2), RFLAGS_CF | RFLAGS_SF);
		EQUAL(FLAGS_AFTER(SEV_MSR_GHCB, 2, 2), RFLAGS_ZF);
		EQUAL(FLAGS_AFTER(SEV_MSR_STATUS, 3, 2), 0);
		EQUAL(FLAGS_AFTER(SEV_MSR_STATUS, 1, 2), RFLAGS_CF | RFLAGS_SF);
	}
}

TEST(msr_protocol_preferred_ghcb_is_none, SEV)
{
	EQUAL(msr_protocol(GHCB_MSR_PREF_GPA_REQ), GHCB_MSR_NO_GPA << GHCB_MSR_DATA_SHIFT | GHCB_MSR_PREF_GPA_RESP);
}

TEST(msr_protocol_register_ghcb, SEV)
{
	EQUAL(msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ), GHCB_PAGE | GHCB_MSR_REG_GPA_RESP);
}

TEST(msr_protocol_register_ghcb_refuses_what_is_no_memory, SEV)
{
	EQUAL(msr_protocol(NO_SUCH_GPA | GHCB_MSR_REG_GPA_REQ), GHCB_MSR_NO_GPA << GHCB_MSR_DATA_SHIFT | GHCB_MSR_REG_GPA_RESP);
	EQUAL(nae(NAE_HV_FEATURES, 0, 0), NAE_RESULT_OK); /* the old one is still registered */
}

TEST(msr_protocol_page_state_change_errors, SEV)
{
	u64 answer = msr_protocol((u64)NAE_PSC_SHARED << GHCB_MSR_PSC_OP_SHIFT | NO_SUCH_GPA | GHCB_MSR_PSC_REQ);

	EQUAL(answer & 0xFFFFFFFF, GHCB_MSR_PSC_RESP);
	CHECK(ERROR_OF(answer));
	for (u64 operation = 0; operation < 16; operation++) {
		if (operation == NAE_PSC_PRIVATE || operation == NAE_PSC_SHARED)
			continue;
		answer = msr_protocol(operation << GHCB_MSR_PSC_OP_SHIFT | (TEST_AREA + 0x5000) | GHCB_MSR_PSC_REQ);
		EQUAL(answer & 0xFFFFFFFF, GHCB_MSR_PSC_RESP);
		CHECK(ERROR_OF(answer));
	}
}

TEST(msr_protocol_run_vmpl_refuses_without_vmsa, VMPL0)
{
	for (u64 vmpl = 0; vmpl < 256; vmpl++) {
		u64 answer = msr_protocol(vmpl << GHCB_MSR_RUN_VMPL_SHIFT | GHCB_MSR_RUN_VMPL_REQ);

		EQUAL(answer & 0xFFFFFFFF, GHCB_MSR_RUN_VMPL_RESP);
		CHECK(ERROR_OF(answer));
	}
}

TEST(msr_protocol_run_vmpl_from_the_guest_reaches_vmpl0_only, SVSM)
{
	for (u64 vmpl = 1; vmpl < 256; vmpl++) {
		u64 answer = msr_protocol(vmpl << GHCB_MSR_RUN_VMPL_SHIFT | GHCB_MSR_RUN_VMPL_REQ);

		EQUAL(answer & 0xFFFFFFFF, GHCB_MSR_RUN_VMPL_RESP);
		CHECK(ERROR_OF(answer));
	}
	EQUAL(msr_protocol(GHCB_MSR_RUN_VMPL_REQ), GHCB_MSR_RUN_VMPL_RESP); /* no call is pending: the SVSM returns at once */
}

TEST(msr_protocol_features, SEV)
{
	u64 answer = msr_protocol(GHCB_MSR_HV_FEATURES_REQ);

	EQUAL(answer & GHCB_MSR_INFO_MASK, GHCB_MSR_HV_FEATURES_RESP);
	CHECK(answer >> GHCB_MSR_DATA_SHIFT & HV_FEATURE_SNP);
	EQUAL(nae(NAE_HV_FEATURES, 0, 0), NAE_RESULT_OK);
	EQUAL(nae_info2(), answer >> GHCB_MSR_DATA_SHIFT);
}

TEST(msr_protocol_unknown_request_is_left, SEV)
{
	static const u64 unknown[] = { 0x003, 0x0FE, 0x5A5A5A5A5A5A5123, 0xFFFFFFFFFFFFFFFF };

	for (u32 i = 0; i < 4; i++)
		EQUAL(msr_protocol(unknown[i]), unknown[i]);
}

TEST(msr_protocol_unregister, SEV)
{
	EQUAL(msr_protocol(GHCB_PAGE | GHCB_MSR_UNREG_GPA_REQ), GHCB_MSR_UNREG_GPA_RESP);
	EQUAL(msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ), GHCB_PAGE | GHCB_MSR_REG_GPA_RESP);
}

TEST(msr_ghcb_and_sev_status_need_no_vc, SEV)
{
	u64 status = rdmsr(SEV_MSR_STATUS);

	CHECK(status & SEV_STATUS_SNP);
	CHECK(!(status & SEV_STATUS_ALTERNATE_INJECTION)); /* these points test the hypervisor's APIC */
	EQUAL(TRY("wrmsr", OUT(), "c"(SEV_MSR_STATUS), "a"(0), "d"(0)), 13);
	EQUAL(trap.error, 0);
	wrmsr(SEV_MSR_GHCB, 0x123456789ABCD000);
	EQUAL(rdmsr(SEV_MSR_GHCB), 0x123456789ABCD000);
}

/* One exit of the host carries out a write with the VMGEXIT right behind it: here the two are not on one page, and not the two. */
TEST(msr_protocol_write_and_vmgexit_apart, SEV)
{
	static const u8 code[] = { 0x0F, 0x30, 0xF3, 0x0F, 0x01, 0xD9, 0xC3 }; /* WRMSR, VMGEXIT, RET */
	volatile u8 *first = (volatile u8 *)(CODE_PAGES + PAGE_SIZE - 2); /* WRMSR is the end of its page */
	const u64 answer = msr_protocol(GHCB_MSR_HV_FEATURES_REQ);

	wrmsr(SEV_MSR_GHCB, 0);
	CHECK(make_private(CODE_PAGES));
	CHECK(make_private(CODE_PAGES + PAGE_SIZE));
	for (u32 i = 0; i < sizeof(code); i++)
		first[i] = code[i];
	__asm__ volatile("call *%3" : : "c"(SEV_MSR_GHCB), "a"(GHCB_MSR_HV_FEATURES_REQ), "d"(0), "r"(first) : "memory");
	EQUAL(rdmsr(SEV_MSR_GHCB), answer);
	wrmsr(SEV_MSR_GHCB, 0);
	__asm__ volatile("wrmsr; repne; vmmcall" : : "c"(SEV_MSR_GHCB), "a"(GHCB_MSR_HV_FEATURES_REQ), "d"(0) : "memory");
	EQUAL(rdmsr(SEV_MSR_GHCB), answer);
	EQUAL(TRY("wrmsr; vmmcall", OUT(), "c"(SEV_MSR_GHCB), "a"(GHCB_MSR_HV_FEATURES_REQ), "d"(0)), SEV_VECTOR_VC);
	EQUAL(trap.error, NAE_VMMCALL);
	EQUAL(rdmsr(SEV_MSR_GHCB), GHCB_MSR_HV_FEATURES_REQ);
}
