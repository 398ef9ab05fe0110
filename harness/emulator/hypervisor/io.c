/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io.h"
#include "bytes.h"
#include "fw_cfg.h"
#include "ghcb.h"
#include "guard.h"
#include "pci.h"
#include "x86.h"

#define PERMISSION_BYTES 0x3000u

/* QEMU's memory hotplug controller (hw/acpi/memory_hotplug.c), which would show the emulator's RAM, and NVDIMMs' port. */
#define MEMORY_HOTPLUG      0xA00u
#define MEMORY_HOTPLUG_SIZE 0x1Cu
#define UART_SIZE           8u

/* COM1, a 16550A (its data sheet: registers 0, 3 and 4). */
#define CONSOLE_DATA         0x3F8u
#define CONSOLE_LINE_CONTROL 0x3FBu
#define LINE_CONTROL_DLAB    0x80u /* register 0 is the divisor's */
#define CONSOLE_MODEM        0x3FCu
#define MODEM_LOOPBACK       0x10u /* nothing is sent */

/* Ports that are always intercepted, and who serves them: NULL: nobody, a read returns all ones. */
struct guarded {
	u16 first, count;
	u32 (*read)(struct vcpu *vcpu, u16 port, u32 size);
	void (*write)(struct vcpu *vcpu, u16 port, u32 size, u32 value);
};

static const struct guarded guarded[] = {
	{ 0x00, 0x10, NULL, NULL }, /* DMA controllers (i8257): devices on ISA write without an IOMMU */
	{ 0xC0, 0x20, NULL, NULL },
	{ 0x60, 1, NULL, NULL }, /* keyboard controller: A20, and a reset */
	{ 0x64, 1, NULL, NULL },
	{ 0x7E, 2, NULL, NULL }, /* kvmvapic: writes where the guest tells it */
	{ 0x5658, 4, NULL, NULL }, /* vmport: writes registers of the processor that executes IN, here the emulator's */
	{ PORT_A20, 1, guard_pass, guard_a20 },
	{ PORT_APM, 2, guard_pass, guard_apm },
	{ FW_CFG_DMA, 8, guard_pass, fw_cfg_dma },
	{ PORT_PM1_CONTROL, 2, guard_pass, guard_pm1_control },
	{ PORT_SMI_ENABLE, 4, guard_pass, guard_smi_enable },
	{ PORT_TCO, 0x20, guard_pass, guard_drop },
	{ PORT_PCI_EJECT, 4, guard_pass, guard_drop },
	{ PORT_CPU_FLAGS, 1, guard_pass, guard_cpu_flags },
	{ PCI_PORTS, 8, pci_port_read, pci_port_write },
};

static bool in_range(u32 port, u32 size, u32 first, u32 count) { return port + size > first && port < first + count; }

static const struct guarded *guard_of(u32 port, u32 size)
{
	for (u32 i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		if (in_range(port, size, guarded[i].first, guarded[i].count))
			return &guarded[i];
	}
	return NULL;
}

/* Ports whose devices belong to the emulator, or to the SVSM. */
static bool is_hidden(struct vcpu *vcpu, u16 port, u32 size)
{
	const struct host_config *config = vcpu->hv->config;

	if (in_range(port, size, config->doorbell_port, 1) || in_range(port, size, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE))
		return true;
	return has_svsm(vcpu->hv) && is_guest(vcpu) && in_range(port, size, config->svsm_console_port, UART_SIZE);
}

static void intercept(u8 *permissions, u32 first, u32 count)
{
	for (u32 port = first; port < first + count; port++)
		permissions[port / 8] |= (u8)(1 << port % 8);
}

bool io_is_native(const struct hypervisor *hv) { return !hv->es || !(hv->config->vc_exits & CONFIG_VC_IOIO); }

void io_setup(struct hypervisor *hv, u8 *permissions)
{
	if (!io_is_native(hv)) {
		memset(permissions, 0xFF, PERMISSION_BYTES);
		return;
	}
	intercept(permissions, hv->config->doorbell_port, 1);
	intercept(permissions, hv->config->debug_exit_port, hv->config->debug_exit_size);
	intercept(permissions, MEMORY_HOTPLUG, MEMORY_HOTPLUG_SIZE);
	/* For the exits until a text is on the console; these are not counted. */
	if (hv->config->log_level >= 3 || hv->config->log_console)
		intercept(permissions, CONSOLE_DATA, 1);
	if (has_svsm(hv))
		intercept(permissions, hv->config->svsm_console_port, UART_SIZE);
	for (u32 i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++)
		intercept(permissions, guarded[i].first, guarded[i].count);
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

static u32 read_port(struct vcpu *vcpu, const struct guarded *guard, u16 port, u32 size)
{
	u32 value;

	if (is_hidden(vcpu, port, size))
		value = hidden_value(port, size);
	else if (!guard)
		value = port_read(port, size);
	else
		value = guard->read ? guard->read(vcpu, port, size) : ones(size);
	if (log_at(vcpu, 2))
		log_io(vcpu, port, size, value, 0);
	return value;
}

static void log_console(struct vcpu *vcpu, u16 port, u32 value)
{
	if ((port_read(CONSOLE_LINE_CONTROL, 1) & LINE_CONTROL_DLAB) || (port_read(CONSOLE_MODEM, 1) & MODEM_LOOPBACK))
		return;
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_CONSOLE, .value = (u8)(value >> 8 * (CONSOLE_DATA - port)) });
}

static void write_port(struct vcpu *vcpu, const struct guarded *guard, u16 port, u32 size, u32 value)
{
	const struct host_config *config = vcpu->hv->config;

	if (log_at(vcpu, 2))
		log_io(vcpu, port, size, value, RECORD_WRITE);
	if (is_hidden(vcpu, port, size))
		return;
	/* QEMU would end at once, and the emulator's account of the log with it. */
	if (in_range(port, size, config->debug_exit_port, config->debug_exit_size)) {
		if (port < config->debug_exit_port)
			value >>= 8 * (config->debug_exit_port - port);
		hw_stop(vcpu->cpu, RECORD_END_DEBUG_EXIT, value, 0);
	}
	if (config->log_console && in_range(port, size, CONSOLE_DATA, 1))
		log_console(vcpu, port, value);
	if (!guard)
		port_write(port, size, value);
	else if (guard->write)
		guard->write(vcpu, port, size, value);
}

u32 io_read(struct vcpu *vcpu, u16 port, u32 size) { return read_port(vcpu, guard_of(port, size), port, size); }

void io_write(struct vcpu *vcpu, u16 port, u32 size, u32 value) { write_port(vcpu, guard_of(port, size), port, size, value); }

/* INS and OUTS of `count` items from or to a buffer. */
void io_string(struct vcpu *vcpu, u16 port, u32 size, bool in, u8 *buffer, u64 count)
{
	const struct guarded *guard = guard_of(port, size);

	for (; count; count--, buffer += size) {
		u32 value = 0;

		if (in) {
			value = read_port(vcpu, guard, port, size);
			memcpy(buffer, &value, size);
		} else {
			memcpy(&value, buffer, size);
			write_port(vcpu, guard, port, size, value);
		}
	}
}

void io_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	u64 info = exit->info1;
	u32 size = (info >> NAE_IOIO_SIZE_SHIFT) & 7;
	u16 port = (u16)(info >> NAE_IOIO_PORT_SHIFT);
	u32 value = 0;

	if (info & NAE_IOIO_STRING)
		hw_stop(vcpu->cpu, RECORD_END_UNKNOWN_EXIT, info, exit->info2);
	if (info & NAE_IOIO_IN)
		value = io_read(vcpu, port, size);
	else
		io_write(vcpu, port, size, hw_io_value(vcpu->cpu) & ones(size));
	hw_io_done(vcpu->cpu, exit, value);
}
