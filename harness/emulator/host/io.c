/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port I/O: QEMU's devices, without those the host keeps for itself. */
#include "cpu.h"
#include "host.h"

#define PERMISSION_BYTES 0x3000u

/* QEMU's memory hotplug controller (hw/acpi/memory_hotplug.c): it would show the host's RAM. */
#define MEMORY_HOTPLUG      0xA00u
#define MEMORY_HOTPLUG_SIZE 0x18u
#define UART_SIZE           8u

static bool in_range(u32 port, u32 size, u32 first, u32 count) { return port + size > first && port < first + count; }

/* Ports whose devices belong to the host, or to the SVSM. */
static bool is_hidden(struct vcpu *vcpu, u16 port, u32 size)
{
	const struct host_config *config = vcpu->host->config;

	if (in_range(port, size, config->doorbell_port, 1) || in_range(port, size, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE))
		return true;
	return config->svsm_size && is_guest(vcpu) && in_range(port, size, config->svsm_console_port, UART_SIZE);
}

static void intercept(u8 *permissions, u32 first, u32 count)
{
	for (u32 port = first; port < first + count; port++)
		permissions[port / 8] |= (u8)(1 << port % 8);
}

void io_setup(struct host *host, u8 *permissions)
{
	if (host->sev && (host->config->vc_exits & CONFIG_VC_IOIO)) {
		memset(permissions, 0xFF, PERMISSION_BYTES);
		return;
	}
	intercept(permissions, host->config->doorbell_port, 1);
	intercept(permissions, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE);
	if (host->config->svsm_size)
		intercept(permissions, host->config->svsm_console_port, UART_SIZE);
}

static u32 ones(u32 size) { return size == 4 ? ~0u : (1u << (8 * size)) - 1; }

/* Hidden devices read as the hotplug controller without memory does: nothing enabled. Others as an empty bus. */
static u32 hidden_value(u16 port, u32 size)
{
	return in_range(port, size, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE) ? 0 : ones(size);
}

u32 io_read(struct vcpu *vcpu, u16 port, u32 size)
{
	u32 value;

	if (is_hidden(vcpu, port, size))
		value = hidden_value(port, size);
	else
		value = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_IO, .rip = event_pc(vcpu, SVM_EXIT_IOIO), .address = port, .value = value,
						 .size = (u8)size });
	return value;
}

void io_write(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_IO, .rip = event_pc(vcpu, SVM_EXIT_IOIO), .address = port, .value = value,
						 .size = (u8)size, .flags = RECORD_WRITE });
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

/* An intercepted IN or OUT of a plain guest: of a hidden port, so string forms have nothing to move. */
static void plain_io(struct vcpu *vcpu, u64 info, u64 next_rip)
{
	u32 size = (info >> SVM_IOIO_SIZE_SHIFT) & 7;
	u16 port = (u16)(info >> SVM_IOIO_PORT_SHIFT);
	struct vmcb_save *save = &vmcb(vcpu)->save;

	if (info & SVM_IOIO_STRING)
		host_stop(vcpu, RECORD_END_UNKNOWN_EXIT, info, next_rip);
	if (info & SVM_IOIO_IN) {
		u32 value = io_read(vcpu, port, size);

		save->rax = size == 4 ? value : (save->rax & ~(u64)ones(size)) | value;
	} else {
		io_write(vcpu, port, size, (u32)save->rax & ones(size));
	}
	save->rip = next_rip;
	vmcb(vcpu)->control.interrupt_shadow = 0;
}

void io_exit(struct vcpu *vcpu)
{
	if (vcpu->host->sev)
		event_vc(vcpu, SVM_EXIT_IOIO);
	else
		plain_io(vcpu, vmcb(vcpu)->control.exit_info1, vmcb(vcpu)->control.exit_info2);
}
