/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console.h"

#include "format.h"
#include "ghcb_call.h"
#include "uart.h"

#define LINE_SIZE 160

/* A console without a reader must not stop the guest: the rest of the line is lost. */
#define UART_POLLS    100000

static bool port_write(struct vcpu *vcpu, u16 port, u8 value)
{
	u64 rax = value;

	return ghcb_port(vcpu, port, NAE_IOIO_SIZE_8, &rax);
}

static u8 port_read(struct vcpu *vcpu, u16 port)
{
	u64 rax = 0;

	return ghcb_port(vcpu, port, NAE_IOIO_SIZE_8 | NAE_IOIO_IN, &rax) ? (u8)rax : 0xFF;
}

/* OUTSB by the shared buffer: one exit for up to a FIFO of characters. */
static bool port_write_string(struct vcpu *vcpu, u16 port, const char *text, u32 count)
{
	struct nae_event event = {
		.code = NAE_IOIO,
		.info1 = ((u64)port << NAE_IOIO_PORT_SHIFT) | NAE_IOIO_SIZE_8 | NAE_IOIO_STRING | NAE_IOIO_REP |
			 NAE_IOIO_ADDRESS_64,
		.info2 = count,
		.has_scratch = true,
		.scratch = vcpu->ghcb_gpa + GHCB_SHARED_BUFFER,
	};

	for (u32 i = 0; i < count; i++)
		*(volatile u8 *)(vcpu->ghcb + GHCB_SHARED_BUFFER + i) = (u8)text[i];
	return ghcb_call(vcpu, &event);
}

bool console_init(struct vcpu *vcpu)
{
	u16 port = (u16)vcpu->svsm->boot.console_port;

	/* Divisor 1 (115200), no interrupts */
	vcpu->console = port_write(vcpu, port + UART_LINE_CONTROL, UART_DLAB | UART_8N1) &&
			port_write(vcpu, port + UART_DATA, 1) && port_write(vcpu, port + UART_DIVISOR_HIGH, 0) &&
			port_write(vcpu, port + UART_LINE_CONTROL, UART_8N1) &&
			port_write(vcpu, port + UART_DIVISOR_HIGH, 0) &&
			port_write(vcpu, port + UART_FIFO, UART_FIFO_ENABLE);
	return vcpu->console;
}

static bool wait_for_transmitter(struct vcpu *vcpu, u16 port)
{
	for (u32 i = 0; i < UART_POLLS; i++)
		if (port_read(vcpu, port + UART_LINE_STATUS) & UART_TX_EMPTY)
			return true;
	return false;
}

static void write_line(struct vcpu *vcpu, u16 port, const char *line, size_t length)
{
	for (size_t done = 0; done < length;) {
		size_t left = length - done;
		u32 count = left < UART_FIFO_DEPTH ? (u32)left : UART_FIFO_DEPTH;

		if (!wait_for_transmitter(vcpu, port) || !port_write_string(vcpu, port, line + done, count))
			return;
		done += count;
	}
}

void console_line(struct vcpu *vcpu, const char *format, ...)
{
	u16 port = (u16)vcpu->svsm->boot.console_port;
	char line[LINE_SIZE + 2];
	va_list arguments;
	size_t length;

	if (!vcpu->console)
		return;
	va_start(arguments, format);
	length = format_text(line, LINE_SIZE, format, arguments);
	va_end(arguments);
	line[length++] = '\r';
	line[length++] = '\n';
	lock_take(&vcpu->svsm->console_lock);
	write_line(vcpu, port, line, length);
	lock_release(&vcpu->svsm->console_lock);
}
