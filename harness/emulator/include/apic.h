/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's numbers.
 *
 * Sources: APM = AMD64 Architecture Programmer's Manual vol. 2 (24593), chapter 16; SDM = Intel SDM
 * vol. 3A, chapter 11 (10 in older editions). xAPIC registers are the offsets in the APIC page; the
 * x2APIC MSR of a register is 800h + offset / 16 (APM 16.11.1, SDM table 11-6).
 */
#ifndef SNP_APIC_H
#define SNP_APIC_H

#include "types.h"

/* APIC_BASE, the mode control (APM 16.3.1 and 16.9, SDM 11.4.4 and 11.12.1). */
enum apic_msr {
	MSR_APIC_BASE = 0x1b,     /* APM 16.3.1, SDM 11.4.4 */
	MSR_TSC_DEADLINE = 0x6e0, /* SDM 11.5.4.1 */
	MSR_X2APIC_FIRST = 0x800, /* APM 16.11.1, SDM 11.12.1.1 */
	MSR_X2APIC_LAST = 0x8ff,  /* SDM 11.12.1.2: 800-8FF are the APIC's */
};

#define APIC_BASE_BSP      BIT(8)  /* read only on hardware, writable in KVM */
#define APIC_BASE_EXTD     BIT(10) /* x2APIC */
#define APIC_BASE_EN       BIT(11)
#define APIC_BASE_MODE(base) ((u32)((base) >> 10) & 3) /* EN << 1 | EXTD */
#define APIC_BASE_RESERVED 0x2ffull            /* bits 7:0 and 9 (KVM kvm_apic_set_base), and those above the width */
#define APIC_BASE_ADDRESS  0xffffffffff000ull  /* bits 51:12 */
#define APIC_DEFAULT_BASE  0xfee00000ull       /* APM 16.3.1, SDM 11.4.1 */

/* xAPIC register offsets (APM table 16-2, SDM table 11-1). */
enum apic_register {
	APIC_ID = 0x020,
	APIC_VERSION = 0x030,
	APIC_TPR = 0x080,
	APIC_APR = 0x090, /* arbitration priority: no x2APIC MSR */
	APIC_PPR = 0x0a0,
	APIC_EOI = 0x0b0,
	APIC_REMOTE_READ = 0x0c0, /* no x2APIC MSR */
	APIC_LDR = 0x0d0,
	APIC_DFR = 0x0e0, /* no x2APIC MSR */
	APIC_SPIV = 0x0f0,
	APIC_ISR = 0x100, /* 8 registers of 32 vectors, 16 bytes apart; TMR and IRR the same */
	APIC_TMR = 0x180,
	APIC_IRR = 0x200,
	APIC_ESR = 0x280,
	APIC_ICR = 0x300,      /* x2APIC MSR 830: 64 bits */
	APIC_ICR2 = 0x310,     /* xAPIC only: 831 does not exist */
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_THERMAL = 0x330,
	APIC_LVT_PERFORMANCE = 0x340,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	APIC_SELF_IPI = 0x3f0,        /* x2APIC only: 83F (SDM 11.12.11) */
	APIC_EXTENDED_FEATURE = 0x400, /* APM table 16-2, 400-530: AMD's extended space; not implemented */
	APIC_EXTENDED_LAST = 0x530,
	APIC_PAGE_SIZE = 0x1000,
};

/* Version register (APM 16.3.3, SDM 11.4.8). */
#define APIC_VERSION_NUMBER        0x14u /* KVM lapic.c */
#define APIC_VERSION_MAX_LVT_SHIFT 16    /* 23:16: LVT entries - 1 */
#define APIC_LVT_ENTRIES           6     /* timer, thermal, performance, LINT0, LINT1, error */

/* Spurious interrupt vector register (APM 16.4.7, SDM 11.9). */
#define APIC_SPIV_VECTOR  0xffu
#define APIC_SPIV_ENABLE  0x100u /* bit 8 */
#define APIC_SPIV_WRITABLE 0x3ffu          /* KVM kvm_lapic_reg_write */

/* Local vector table (APM 16.4, SDM 11.5.1). */
#define APIC_LVT_VECTOR        0xffu
#define APIC_LVT_DELIVERY      0x700u
#define APIC_LVT_DELIVERY_SHIFT 8
#define APIC_LVT_SEND_PENDING  0x1000u
#define APIC_LVT_LOW_ACTIVE    0x2000u
#define APIC_LVT_REMOTE_IRR    0x4000u
#define APIC_LVT_LEVEL         0x8000u
#define APIC_LVT_MASKED        0x10000u
#define APIC_LVT_TIMER_MODE    0x60000u
enum apic_timer_mode {
	APIC_TIMER_ONE_SHOT = 0x00000,
	APIC_TIMER_PERIODIC = 0x20000,
	APIC_TIMER_TSC_DEADLINE = 0x40000, /* SDM 11.5.4.1 */
	APIC_TIMER_RESERVED = 0x60000,
};

/* Delivery modes of LVT and ICR, bits 10:8 (APM table 16-3 and 16.5, SDM 11.5.1 and 11.6.1). */
enum apic_delivery {
	APIC_DELIVER_FIXED = 0,
	APIC_DELIVER_LOWEST = 1,
	APIC_DELIVER_SMI = 2,
	APIC_DELIVER_REMOTE_READ = 3,
	APIC_DELIVER_NMI = 4,
	APIC_DELIVER_INIT = 5,
	APIC_DELIVER_STARTUP = 6,
	APIC_DELIVER_EXTINT = 7,
};

/* Interrupt command register (APM 16.5, SDM 11.6.1; x2APIC form SDM 11.12.9). */
#define APIC_ICR_VECTOR       0xffull
#define APIC_ICR_DELIVERY     0x700ull
#define APIC_ICR_DELIVERY_SHIFT 8
#define APIC_ICR_LOGICAL      0x800ull
#define APIC_ICR_BUSY         0x1000ull /* delivery status */
#define APIC_ICR_ASSERT       0x4000ull
#define APIC_ICR_LEVEL        0x8000ull
#define APIC_ICR_SHORTHAND    0xc0000ull
#define APIC_ICR_X2_RESERVED  0xfff32000ull /* 31:20, 17:16, 13 (SDM 11.12.9, KVM X2APIC_ICR_RESERVED_BITS) */
enum apic_shorthand {
	APIC_SHORTHAND_NONE = 0x00000,
	APIC_SHORTHAND_SELF = 0x40000,
	APIC_SHORTHAND_ALL = 0x80000,
	APIC_SHORTHAND_OTHERS = 0xc0000,
};
#define APIC_ICR_DESTINATION_SHIFT 32 /* x2APIC: 63:32; xAPIC: bits 31:24 of ICR2 */
#define APIC_BROADCAST       0xffffffffu /* x2APIC form (SDM 11.12.9) */
#define APIC_BROADCAST_XAPIC 0xffu

/* Error status register (APM 16.4.6, SDM 11.5.3). */
#define APIC_ESR_SEND_VECTOR      0x20u
#define APIC_ESR_RECEIVE_VECTOR   0x40u
#define APIC_ESR_ILLEGAL_REGISTER 0x80u

/* Destination format register: the model in 31:28, 27:0 read as ones (APM 16.6.1, SDM 11.6.2.2). */
#define APIC_DFR_ONES    0x0fffffffu
#define APIC_DFR_FLAT    0xffffffffu
#define APIC_DFR_CLUSTER 0x0fffffffu
#define APIC_LDR_ID      0xff000000u /* logical ID, 31:24 (APM 16.6.1, SDM 11.6.2.2) */
#define APIC_ID_SHIFT    24          /* xAPIC ID in 31:24 (APM 16.3.3, SDM 11.4.6) */

/* Divide configuration: bits 3 and 1:0; 0 is 2, 1 is 4 ... 10 is 128, 11 is 1 (APM 16.4.1, SDM 11.5.4). */
#define APIC_DIVIDE_MASK 0x0bu

/* Values after reset (APM 16.3.2 and table 16-2, SDM 11.4.7.1). */
#define APIC_RESET_LVT       0x10000u
#define APIC_RESET_LINT0_BSP 0x700u /* KVM kvm_lapic_reset: virtual wire, ExtINT unmasked, on the BSP */
#define APIC_RESET_SPIV      0xffu
#define APIC_RESET_DFR       0xffffffffu

/* Vectors 0-15 are illegal to send or receive (APM 16.4.6, SDM 11.5.2). */
#define APIC_FIRST_LEGAL_VECTOR 16
#define APIC_PRIORITY_CLASS     0xf0u /* of a vector, TPR or PPR (APM 16.6.3, SDM 11.8.3.1) */
#define APIC_VECTOR_WORDS       8     /* ISR, TMR and IRR: 8 registers of 32 vectors */

#endif
