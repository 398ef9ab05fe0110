/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "edu.h"
#include "apic.h"
#include "cpu.h"
#include "io.h"
#include "layout.h"

/* PCI configuration by port (PCI 3.0, 3.2.2.3 and 6.1); run.py puts the device at 00:10.0. */
#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA    0xCFC
#define CONFIG_EDU     (0x80000000u | 0x10 << 11)
#define CONFIG_COMMAND 0x04
#define CONFIG_BAR0    0x10
#define MEMORY_AND_MASTER 6

#define BAR         0xC1000000ull
#define DMA_FROM    0x80
#define DMA_TO      0x88
#define DMA_COUNT   0x90
#define DMA_COMMAND 0x98
#define DMA_START   1u
#define DMA_STORE   2u
#define BUFFER      0x40000ull

static void config_write(u32 offset, u32 value)
{
	io_out(CONFIG_ADDRESS, 4, CONFIG_EDU | offset);
	io_out(CONFIG_DATA, 4, value);
}

void edu_setup(void)
{
	config_write(CONFIG_BAR0, (u32)BAR);
	config_write(CONFIG_COMMAND, MEMORY_AND_MASTER);
}

static void begin(u64 from, u64 to, u32 size, u32 command)
{
	mmio_out(BAR + DMA_FROM, 8, from);
	mmio_out(BAR + DMA_TO, 8, to);
	mmio_out(BAR + DMA_COUNT, 8, size);
	mmio_out(BAR + DMA_COMMAND, 8, command | DMA_START);
}

bool edu_is_done(void) { return !(mmio_in(BAR + DMA_COMMAND, 8) & DMA_START); }

static void copy(u64 from, u64 to, u32 size, u32 command)
{
	begin(from, to, size, command);
	while (!edu_is_done())
		pause();
}

void edu_load(u64 gpa, u32 size) { copy(gpa, BUFFER, size, 0); }
void edu_store(u64 gpa, u32 size) { copy(BUFFER, gpa, size, DMA_STORE); }

void edu_begin_message(u32 apic_id, bool logical, u32 data)
{
	*(volatile u32 *)BUFFER_PAGE = data;
	edu_load(BUFFER_PAGE, 4);
	begin(BUFFER, APIC_DEFAULT_BASE | (u64)apic_id << 12 | (u64)logical << 2, 4, DMA_STORE);
}
