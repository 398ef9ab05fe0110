/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io.h"
#include "cpu.h"
#include "start.h"
#include "trap.h"
#include "vmgexit.h"

static u64 io_info(u16 port, u32 size)
{
	return (u64)port << NAE_IOIO_PORT_SHIFT | NAE_IOIO_ADDRESS_64 | (u64)size << 4;
}

/* Interrupts are off during a request: a handler may make requests with the same page. */
static u32 ghcb_in(u16 port, u32 size)
{
	u64 flags = interrupts_off();
	u32 value;

	nae(NAE_IOIO, io_info(port, size) | NAE_IOIO_IN, 0);
	value = (u32)ghcb_get(GHCB_RAX);
	interrupts_restore(flags);
	return value;
}

static void ghcb_out(u16 port, u32 size, u32 value)
{
	u64 flags = interrupts_off();

	ghcb_set(GHCB_RAX, value);
	nae(NAE_IOIO, io_info(port, size), 0);
	interrupts_restore(flags);
}

static u64 ghcb_mmio(u64 code, u64 gpa, u32 size, u64 value)
{
	volatile a64 *buffer = (volatile a64 *)(GHCB_PAGE + GHCB_SHARED_BUFFER);
	u64 flags = interrupts_off();

	ghcb_set(GHCB_SW_SCRATCH, (u64)buffer);
	*buffer = value;
	nae(code, gpa, size);
	value = *buffer;
	interrupts_restore(flags);
	return value;
}

static bool ghcb_msr(u32 msr, u64 direction, u64 *value)
{
	u64 flags = interrupts_off();
	bool done;

	ghcb_set(GHCB_RCX, msr);
	if (direction == NAE_MSR_WRITE) {
		ghcb_set(GHCB_RAX, (u32)*value);
		ghcb_set(GHCB_RDX, *value >> 32);
	}
	done = nae(NAE_MSR, direction, 0) == NAE_RESULT_OK;
	if (done && direction == NAE_MSR_READ)
		*value = (u32)ghcb_get(GHCB_RAX) | ghcb_get(GHCB_RDX) << 32;
	interrupts_restore(flags);
	return done;
}

u32 io_in(u16 port, u32 size)
{
	u32 value = 0;

	if (sev())
		return ghcb_in(port, size);
	if (size == 1)
		__asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port));
	else if (size == 2)
		__asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port));
	else
		__asm__ volatile("inl %w1, %0" : "+a"(value) : "Nd"(port));
	return value;
}

void io_out(u16 port, u32 size, u32 value)
{
	if (sev()) {
		ghcb_out(port, size, value);
	} else if (size == 1) {
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port));
	} else if (size == 2) {
		__asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port));
	} else {
		__asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port));
	}
}

u64 mmio_in(u64 gpa, u32 size)
{
	if (sev())
		return ghcb_mmio(NAE_MMIO_READ, gpa, size, 0);
	switch (size) {
	case 1: return *(volatile u8 *)gpa;
	case 2: return *(volatile u16 *)gpa;
	case 4: return *(volatile u32 *)gpa;
	default: return *(volatile u64 *)gpa;
	}
}

void mmio_out(u64 gpa, u32 size, u64 value)
{
	if (sev()) {
		ghcb_mmio(NAE_MMIO_WRITE, gpa, size, value);
		return;
	}
	switch (size) {
	case 1: *(volatile u8 *)gpa = (u8)value; break;
	case 2: *(volatile u16 *)gpa = (u16)value; break;
	case 4: *(volatile u32 *)gpa = (u32)value; break;
	default: *(volatile u64 *)gpa = value; break;
	}
}

bool msr_in(u32 msr, u64 *value)
{
	u32 low = 0, high = 0;

	if (!sev()) {
		if (TRY("rdmsr", OUT("=a"(low), "=d"(high)), "c"(msr)) != NO_TRAP)
			return false;
		*value = (u64)high << 32 | low;
		return true;
	}
	return ghcb_msr(msr, NAE_MSR_READ, value);
}

bool msr_out(u32 msr, u64 value)
{
	if (!sev())
		return TRY("wrmsr", OUT(), "c"(msr), "a"((u32)value), "d"((u32)(value >> 32))) == NO_TRAP;
	return ghcb_msr(msr, NAE_MSR_WRITE, &value);
}
