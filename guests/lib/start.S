/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's reset vector. It enters 32-bit code, which copies the payload to memory, finds the C-bit, makes page tables
 * with it and enters the 64-bit code. Without SEV it does the same without a C-bit.
 * This is the image's last page, with the SEV metadata, the GUIDed table and the CPU's reset vector.
 */
#include "cpu_modes.h"

#define GHCB_MSR 0xC0010130 /* sev.h, SEV_MSR_GHCB */
#define CPUID_LEAF 0x8000001F
#define CPUID_EAX_SEV_ES 0x8
#define CBIT_MASK 0x3F

#define SAVED_ECX (START_RESULTS + 0x40)

/* struct guest_hooks */
#define HOOK_BEFORE_PAGING 8

/* The CPUID page (publication 56860, CPUID_TABLE): a count, 12 reserved bytes, entries of 48 bytes. */
#define CPUID_ENTRIES 16
#define CPUID_SIZE    48
#define CPUID_EBX     28
#define CPUID_MAX     64

#define PTE       0x07 /* present, writable, user */
#define PTE_LARGE 0x87
#define PD(number) (PAGE_TABLES + 0x2000 + (number) * 0x1000)

/* ECX entries from EDI on: EAX and EBP are the halves of the first, EAX grows by `step`. */
	.macro FILL_TABLE step
1:	movl %eax, (%edi)
	movl %ebp, 4(%edi)
	addl $\step, %eax
	addl $8, %edi
	loop 1b
	.endm

	.section .note.GNU-stack, "", @progbits
	.section .start, "ax"
	.code16
start_page:
start16:
	ENTER_PROTECTED_MODE "gdtr - start_page + 0xF000", start32

	.code32
start32:
	LOAD_DATA_SEGMENTS
	movl $STACK_TOP, %esp
	cld
	movl $PAYLOAD_FLASH, %esi
	movl $PARAMETERS, %edi
	movl $(PAYLOAD_SIZE / 4), %ecx
	rep movsl
	movl $START_RESULTS, %edi
	xorl %eax, %eax
	movl $0x40, %ecx
	rep stosl
	movl $bss_start, %edi
	movl $bss_end, %ecx
	subl %edi, %ecx
	rep stosb
	lidtl idtr32

	movl $cpuid32, RESULT_EIP
	movl $CPUID_LEAF, %eax
	xorl %ecx, %ecx
cpuid32:
	cpuid
	movl %eax, RESULT_EAX
	movl %ebx, RESULT_EBX

	/*
	 * The C-bit is in the CPUID page; without one, the hypervisor's answer is used. There is none without SEV-ES, which
	 * #VC tells, or EAX where the hypervisor answers CPUID without #VC.
	 */
	cmpl $0, RESULT_COUNT
	jne 5f
	testl $CPUID_EAX_SEV_ES, %eax
	jz 3f
5:	movl CPUID_PAGE, %ecx
	cmpl $CPUID_MAX, %ecx
	ja 2f
	movl $(CPUID_PAGE + CPUID_ENTRIES), %esi
1:	decl %ecx
	js 2f
	cmpl $CPUID_LEAF, (%esi)
	je 4f
	addl $CPUID_SIZE, %esi
	jmp 1b
4:	movl CPUID_EBX(%esi), %ebx
2:	andl $CBIT_MASK, %ebx
	movl %ebx, RESULT_CBIT
3:
	/* EBP: the upper half of a private entry. A C-bit is bit 32 or higher. */
	xorl %ebp, %ebp
	movl RESULT_CBIT, %ecx
	testl %ecx, %ecx
	jz 1f
	incl %ebp
	subl $32, %ecx
	shll %cl, %ebp
1:
	movl $PAGE_TABLES, %edi
	xorl %eax, %eax
	movl $(0x7000 / 4), %ecx
	rep stosl
	movl $(PD(-1) + PTE), PAGE_TABLES
	movl %ebp, PAGE_TABLES + 4
	movl $PD(0) + PTE, %eax
	movl $PD(-1), %edi
	movl $4, %ecx
	FILL_TABLE 0x1000

	/* 4 GiB in pages of 2 MiB; EDX: the upper half of this one. */
	movl $PTE_LARGE, %eax
	movl $PD(0), %edi
	movl $2048, %ecx
1:	movl %ebp, %edx
	cmpl $DEVICES, %eax
	jb 2f
	cmpl $FLASH, %eax
	jae 2f
	xorl %edx, %edx
2:	movl %eax, (%edi)
	movl %edx, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b

	movl $(TEST_TABLE + PTE), PD(0) + TEST_AREA / 0x200000 * 8
	movl $(TEST_AREA + PTE), %eax
	movl $TEST_TABLE, %edi
	movl $512, %ecx
	FILL_TABLE 0x1000

	movl guest_hooks + HOOK_BEFORE_PAGING, %eax
	testl %eax, %eax
	jz 1f
	call *%eax
1:	ENTER_LONG_MODE entry

/*
 * #VC of CPUID: counts it, stores the error code, EIP, CS, EFLAGS and ESP of the handler's start, and requests EBX and
 * EAX by MSR protocol 004.
 */
vc32:
	incl RESULT_COUNT
	movl %ecx, SAVED_ECX
	popl %ecx
	movl %ecx, RESULT_ERROR
	movl (%esp), %ecx
	movl %ecx, RESULT_VC_EIP
	movl 4(%esp), %ecx
	movl %ecx, RESULT_CS
	movl 8(%esp), %ecx
	movl %ecx, RESULT_EFLAGS
	movl %esp, RESULT_ESP
	movl %eax, %esi
	movl $1, %edi
1:	movl %edi, %eax		/* EBX, then EAX */
	shll $30, %eax
	orl $0x004, %eax
	movl %esi, %edx
	movl $GHCB_MSR, %ecx
	wrmsr
	rep; vmmcall
	movl $GHCB_MSR, %ecx
	rdmsr
	testl %edi, %edi
	jz 2f
	movl %edx, %ebx
	decl %edi
	jmp 1b
2:	movl %edx, %eax
	addl $2, (%esp)
	iretl

	BOOT_GDT gdt
idt32:
	.fill 29, 8, 0
	.word vc32 - start_page + 0xF000, SELECTOR_CODE32, 0x8E00, 0xFFFF
idtr32:
	.word 30 * 8 - 1
	.long idt32

/* SEV metadata (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm). */
	.org METADATA - START
metadata:
	.ascii "ASEV"
	.long metadata_end - metadata, 1, 4
	.long SEC_MEMORY, SEC_SIZE, 1
	.long SECRETS_PAGE, 0x1000, 2
	.long CPUID_PAGE, 0x1000, 3
	.long CAA_PAGE, 0x1000, 4
metadata_end:

/* The GUIDed table (edk2 OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm): dc886566-984a-4798-a75e-5585a7bf67cc, then its
   footer 96b582de-1fb2-45f7-baea-a366c55a082d. */
	.org TABLE_END - START - 18 - 22
	.long 0x100000000 - METADATA /* from the image's end */
	.word 22
	.long 0xDC886566
	.word 0x984A, 0x4798
	.byte 0xA7, 0x5E, 0x55, 0x85, 0xA7, 0xBF, 0x67, 0xCC
	.word 18 + 22
	.long 0x96B582DE
	.word 0x1FB2, 0x45F7
	.byte 0xBA, 0xEA, 0xA3, 0x66, 0xC5, 0x5A, 0x08, 0x2D

	.org 0xFF0
	.code16
	jmp start16
	.org 0x1000
