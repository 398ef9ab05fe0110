/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hardware.h"

#include "sev.h"

/*
 * Each instruction that can fault on a guest's page has an entry in the exception table:
 * the handler resumes behind it with `fault` still 1.
 */
#define RESUME_AT(from, to)             \
	".pushsection .ex_table, \"a\"\n\t" \
	".balign 4\n\t"                     \
	".long " #from " - .\n\t"           \
	".long " #to " - .\n\t"             \
	".popsection\n\t"

bool guest_read64(u64 gpa, u64 *value)
{
	u64 read = 0;
	u32 fault = 1;

	asm volatile("1: movq (%[gpa]), %[read]\n\t"
		     "xorl %[fault], %[fault]\n\t"
		     "2:\n\t"
		     RESUME_AT(1b, 2b)
		     : [read] "+r"(read), [fault] "+r"(fault)
		     : [gpa] "r"(gpa)
		     : "memory", "cc");
	*value = read;
	return fault == 0;
}

#define GUEST_WRITE(bits, suffix, operand)                    \
	bool guest_write##bits(u64 gpa, u##bits value)            \
	{                                                         \
		u32 fault = 1;                                        \
                                                              \
		asm volatile("1: mov" suffix " %" operand "[value], (%[gpa])\n\t" \
			     "xorl %[fault], %[fault]\n\t"                \
			     "2:\n\t"                                     \
			     RESUME_AT(1b, 2b)                            \
			     : [fault] "+r"(fault)                        \
			     : [gpa] "r"(gpa), [value] "r"(value)         \
			     : "memory", "cc");                           \
		return fault == 0;                                    \
	}
GUEST_WRITE(64, "q", "q")
GUEST_WRITE(16, "w", "w")
GUEST_WRITE(8, "b", "b")

bool guest_zero(u64 gpa, u64 size)
{
	u64 quadwords = size / 8;
	u32 fault = 1;

	asm volatile("1: rep stosq\n\t"
		     "xorl %[fault], %[fault]\n\t"
		     "2:\n\t"
		     RESUME_AT(1b, 2b)
		     : [fault] "+r"(fault), "+D"(gpa), "+c"(quadwords)
		     : "a"(0ull)
		     : "memory", "cc");
	return fault == 0;
}

struct vmsa *guest_vmsa(u64 gpa)
{
	return (struct vmsa *)gpa; /* VA = GPA: the private view */
}

u32 hardware_pvalidate(u64 gpa, enum page_size size, bool validate)
{
	u64 result = gpa;
	u8 unchanged = 0;
	u32 fault = 1;

	asm volatile("1: " SEV_OPCODE_PVALIDATE "\n\t"
		     "setc %[unchanged]\n\t"
		     "xorl %[fault], %[fault]\n\t"
		     "2:\n\t"
		     RESUME_AT(1b, 2b)
		     : "+a"(result), [unchanged] "+q"(unchanged), [fault] "+r"(fault)
		     : "c"((u64)size), "d"((u64)validate)
		     : "memory", "cc");
	if (fault)
		return SEV_FAIL_INPUT;
	if ((u32)result == SEV_SUCCESS && unchanged)
		return SEV_FAIL_UNCHANGED;
	return (u32)result;
}

u32 hardware_rmpadjust(u64 gpa, enum page_size size, u64 attributes)
{
	u64 result = gpa;
	u32 fault = 1;

	asm volatile("1: " SEV_OPCODE_RMPADJUST "\n\t"
		     "xorl %[fault], %[fault]\n\t"
		     "2:\n\t"
		     RESUME_AT(1b, 2b)
		     : "+a"(result), [fault] "+r"(fault)
		     : "c"((u64)size), "d"(attributes)
		     : "memory", "cc");
	return fault ? SEV_FAIL_INPUT : (u32)result;
}

static bool has_batches;

/* Of `count` operations, those that are left; `*result` is that of the first of them. */
static u64 batch(const struct sev_rmp_operation *operations, u64 count, u32 *result)
{
	u64 rax = SEV_FAIL_INPUT;
	u8 unchanged = 0;
	u32 fault = 1;

	asm volatile("1: " SEV_OPCODE_RMP_BATCH "\n\t"
		     "setc %[unchanged]\n\t"
		     "xorl %[fault], %[fault]\n\t"
		     "2:\n\t"
		     RESUME_AT(1b, 2b)
		     : "+a"(rax), "+S"(operations), "+c"(count), [unchanged] "+q"(unchanged), [fault] "+r"(fault)
		     :
		     : "memory", "cc");
	if (fault)
		*result = SEV_FAIL_INPUT;
	else
		*result = (u32)rax == SEV_SUCCESS && unchanged ? (u32)SEV_FAIL_UNCHANGED : (u32)rax;
	return count;
}

void hardware_use_batches(bool wanted)
{
	u32 result = SEV_FAIL_INPUT;

	if (wanted)
		batch(NULL, 0, &result);
	has_batches = result == SEV_SUCCESS;
}

static u32 operation(const struct sev_rmp_operation *operation)
{
	u64 gpa = operation->page & ~(PAGE_SIZE - 1);
	enum page_size size = operation->page & SEV_RMP_OPERATION_2M ? PAGE_2M : PAGE_4K;
	u32 result;

	if (operation->page & SEV_RMP_OPERATION_RMPADJUST)
		return hardware_rmpadjust(gpa, size, operation->rdx);
	result = hardware_pvalidate(gpa, size, operation->rdx);
	return result == SEV_FAIL_UNCHANGED && (operation->page & SEV_RMP_OPERATION_IGNORE_CF) ? (u32)SEV_SUCCESS : result;
}

u32 hardware_rmp_operations(const struct sev_rmp_operation *operations, u32 count, u32 *done)
{
	u32 result = SEV_SUCCESS;

	if (has_batches) {
		*done = count - (u32)batch(operations, count, &result);
		return result;
	}
	for (*done = 0; *done < count; ++*done) {
		result = operation(&operations[*done]);
		if (result != SEV_SUCCESS)
			break;
	}
	return result;
}
