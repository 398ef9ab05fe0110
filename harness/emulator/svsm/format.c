/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "format.h"

struct output {
	char *buffer;
	size_t size;
	size_t length;
};

static void put(struct output *out, char character)
{
	if (out->length + 1 < out->size)
		out->buffer[out->length++] = character;
}

static void put_number(struct output *out, u64 value, u32 base, bool upper, u32 width, char pad)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[20]; /* 2^64 - 1 in decimal has 20 digits */
	u32 count = 0;

	do {
		text[count++] = digits[value % base];
		value /= base;
	} while (value);
	for (u32 i = count; i < width; i++)
		put(out, pad);
	while (count)
		put(out, text[--count]);
}

size_t format_text(char *buffer, size_t size, const char *format, va_list arguments)
{
	struct output out = { .buffer = buffer, .size = size };

	if (size == 0)
		return 0;
	for (; *format; format++) {
		char pad = ' ';
		u32 width = 0;
		bool is_long = false;

		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		format++;
		if (*format == '0') {
			pad = '0';
			format++;
		}
		for (; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (u32)(*format - '0');
		if (*format == 'l') {
			is_long = true;
			format++;
		}
		switch (*format) {
		case 's':
			for (const char *text = va_arg(arguments, const char *); *text; text++)
				put(&out, *text);
			break;
		case 'c':
			put(&out, (char)va_arg(arguments, int));
			break;
		case 'u':
		case 'x':
		case 'X':
			put_number(&out, is_long ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned int),
				   *format == 'u' ? 10 : 16, *format == 'X', width, pad);
			break;
		case '\0':
			format--; /* a lone % ends the format */
			break;
		default:
			put(&out, *format);
			break;
		}
	}
	out.buffer[out.length] = '\0';
	return out.length;
}
