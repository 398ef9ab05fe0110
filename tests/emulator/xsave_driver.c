/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the areas of XSAVE: one command a line, numbers in hexadecimal, areas as their bytes in hexadecimal; the
 * answers are numbers, and the bytes of areas as numbers of 64 bits. See tests/emulator/test_xsave_format.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xsave_format.h"

#define COMMAND_SECONDS 120
#define WORDS           8
#define LINE            32768

static struct xsave_layout layout;

/* Areas of exactly their sizes, so that the sanitizer sees an access beyond. */
static u8 *area_of(const char *text, size_t *size)
{
	u8 *bytes;

	*size = strlen(text) / 2;
	bytes = aligned_alloc(64, (*size + 63) & ~63ul);
	bytes = realloc(bytes, *size);
	for (size_t i = 0; i < *size; i++) {
		unsigned int byte;

		sscanf(text + 2 * i, "%2x", &byte);
		bytes[i] = (u8)byte;
	}
	return bytes;
}

static void print_area(const u8 *bytes, size_t size)
{
	for (size_t i = 0; i + 8 <= size; i += 8)
		printf("%llx ", *(const unsigned long long *)(bytes + i));
	printf("\n");
}

static u64 number(const char *text) { return strtoull(text, NULL, 16); }

/* WORD REQUESTED SAVED MODE64 IMAGE AREA, WORD REQUESTED 0 MODE64 AREA IMAGE: the last one is changed. */
static void change(char **words)
{
	size_t from_size, to_size;
	u8 *from = area_of(words[4], &from_size), *to = area_of(words[5], &to_size);

	if (!strcmp(words[0], "compact"))
		xsave_compact(&layout, from, number(words[1]), number(words[2]), number(words[3]), to);
	else
		xsave_expand(&layout, from, number(words[1]), number(words[3]), to);
	print_area(to, to_size);
	free(from);
	free(to);
}

/* in_use FEATURES IMAGE; valid ALLOWED REQUESTED AREA */
static void ask(char **words, bool in_use)
{
	size_t size;
	u8 *bytes = area_of(words[in_use ? 2 : 3], &size);

	if (in_use)
		printf("%llx\n", (unsigned long long)xsave_in_use(&layout, bytes, number(words[1])));
	else
		printf("%x\n", xsave_is_valid(bytes, number(words[1]), number(words[2])));
	free(bytes);
}

static void command(char **words, u32 count)
{
	if (count == 1 && !strcmp(words[0], "reset")) {
		memset(&layout, 0, sizeof(layout));
		printf("0\n");
	} else if (count == 5 && !strcmp(words[0], "add")) {
		printf("%x\n", xsave_layout_add(&layout, (u32)number(words[1]), (u32)number(words[2]), (u32)number(words[3]),
						(u32)number(words[4])));
	} else if (count == 3 && !strcmp(words[0], "end")) {
		printf("%x\n", xsave_compact_end(&layout, number(words[1]), number(words[2])));
	} else if (count == 3 && !strcmp(words[0], "in_use")) {
		ask(words, true);
	} else if (count == 4 && !strcmp(words[0], "valid")) {
		ask(words, false);
	} else if (count == 6 && (!strcmp(words[0], "compact") || !strcmp(words[0], "expand"))) {
		change(words);
	} else {
		exit(2);
	}
}

int main(void)
{
	static char line[LINE];

	while (fgets(line, sizeof(line), stdin)) {
		char *words[WORDS], *word = strtok(line, " \n");
		u32 count = 0;

		alarm(COMMAND_SECONDS);
		for (; word && count < WORDS; word = strtok(NULL, " \n"))
			words[count++] = word;
		if (!count)
			return 2;
		command(words, count);
		fflush(stdout);
		alarm(0);
	}
	return 0;
}
