/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 16550 UART: registers, as offsets from the port, and their bits (PC16550D data sheet, table 2). */
#ifndef SVSM_UART_H
#define SVSM_UART_H

#define UART_DATA         0
#define UART_DIVISOR_HIGH 1 /* with UART_DLAB */
#define UART_FIFO         2
#define UART_FIFO_ENABLE  0x07 /* on, and both emptied */
#define UART_LINE_CONTROL 3
#define UART_8N1          0x03
#define UART_DLAB         0x80
#define UART_LINE_STATUS  5
#define UART_DATA_READY   0x01
#define UART_TX_EMPTY     0x20

#define UART_FIFO_DEPTH   16

#endif
