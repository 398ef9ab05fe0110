/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io.h"
#include "bytes.h"
#include "ghcb.h"
#include "x86.h"

#define PERMISSION_BYTES 0x3000u

/* QEMU's memory hotplug controller (hw/acpi/memory_hotplug.c): it would show the emulator's RAM. */
#define MEMORY_HOTPLUG      0xA00u
#define MEMORY_HOTPLUG_SIZE 0x18u
#define UART_SIZE           8u

static bool in_range(u32 port, u32 size, u32 first, u32 count) { return port + size > first && port < first + count; }

/* Ports whose devices belong to the emulator, or to the SVSM. */
static bool is_hidden(struct vcpu *vcpu, u16 port, u32 size)
{
	const struct host_config *config = vcpu->hv->config;

	if (in_range(port, size, config->doorbell_port, 1) || in_range(port, size, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE))
		return true;
	return config->svsm_size && is_guest(vcpu) && in_range(port, size, config->svsm_console_port, UART_SIZE);
}

static void intercept(u8 *permissions, u32 first, u32 count)
{
	for (u32 port = first; port < first + count; port++)
		permissions[port / 8] |= (u8)(1 << port % 8);
}

void io_setup(struct hypervisor *hv, u8 *permissions)
{
	if (hv->sev && (hv->config->vc_exits & CONFIG_VC_IOIO)) {
		memset(permissions, 0xFF, PERMISSION_BYTES);
		return;
	}
	intercept(permissions, hv->config->doorbell_port, 1);
	intercept(permissions, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE);
	if (hv->config->svsm_size)
		intercept(permissions, hv->config->svsm_console_port, UART_SIZE);
}

static u32 ones(u32 size) { return size == 4 ? ~0u : (1u << (8 * size)) - 1; }

/* Hidden devices read as the hotplug controller without memory does: nothing enabled. Others read as an empty bus. */
static u32 hidden_value(u16 port, u32 size)
{
	return in_range(port, size, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE) ? 0 : ones(size);
}

static void log_io(struct vcpu *vcpu, u16 port, u32 size, u32 value, u8 flags)
{
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_IO, .rip = hw_observe_vc_pc(vcpu->cpu, SVM_EXIT_IOIO), .address = port,
					   .value = value, .size = (u8)size, .flags = flags });
}

u32 io_read(struct vcpu *vcpu, u16 port, u32 size)
{
	u32 value;

	if (is_hidden(vcpu, port, size))
		value = hidden_value(port, size);
	else
		value = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
	if (log_at(vcpu, 2))
		log_io(vcpu, port, size, value, 0);
	return value;
}

void io_write(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (log_at(vcpu, 2))
		log_io(vcpu, port, size, value, RECORD_WRITE);
	if (is_hidden(vcpu, port, size))
		return;
	if (size == 1)
		outb(port, (u8)value);
	else if (size == 2)
		outw(port, (u16)value);
	else
		outl(port, value);
}

/* INS and OUTS of `count` items from or to a buffer. */
void io_string(struct vcpu *vcpu, u16 port, u32 size, bool in, u8 *buffer, u64 count)
{
	for (; count; count--, buffer += size) {
		u32 value = 0;

		if (in) {
			value = io_read(vcpu, port, size);
			memcpy(buffer, &value, size);
		} else {
			memcpy(&value, buffer, size);
			io_write(vcpu, port, size, value);
		}
	}
}

/* Of a hidden port, so string forms have nothing to move. EXITINFO2 is the next instruction's RIP. */
void io_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	u64 info = exit->info1;
	u32 size = (info >> NAE_IOIO_SIZE_SHIFT) & 7;
	u16 port = (u16)(info >> NAE_IOIO_PORT_SHIFT);
	struct vmcb_save *save = hw_plain_registers(vcpu->cpu);

	if (info & NAE_IOIO_STRING)
		hw_stop(vcpu->cpu, RECORD_END_UNKNOWN_EXIT, info, exit->info2);
	if (info & NAE_IOIO_IN) {
		u32 value = io_read(vcpu, port, size);

		save->rax = size == 4 ? value : (save->rax & ~(u64)ones(size)) | value;
	} else {
		io_write(vcpu, port, size, (u32)save->rax & ones(size));
	}
	hw_plain_step(vcpu->cpu, (u32)(exit->info2 - save->rip));
}
