/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of a test driver: one command a line, numbers in hexadecimal, one line of numbers as the answer. A command
 * that takes longer than two minutes ends the driver (SIGALRM).
 */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "types.h"

#define COMMAND_SECONDS 120
#define ARGUMENTS       (3 + 512) /* up to a page of 64-bit words behind the others: buffers.h */
#define LINE_SIZE       (32 + 17 * ARGUMENTS)

/* Give each line of stdin to command, which prints the answer. Arguments that are not there are 0. */
static inline int driver_serve(void (*command)(const char *name, const u64 *arguments))
{
	static char line[LINE_SIZE];

	while (fgets(line, sizeof(line), stdin)) {
		char *word = strtok(line, " \n");
		u64 arguments[ARGUMENTS] = { 0 };
		char *argument;

		alarm(COMMAND_SECONDS);
		if (!word)
			return 2;
		for (u32 i = 0; i < ARGUMENTS && (argument = strtok(NULL, " \n")); i++)
			arguments[i] = strtoull(argument, NULL, 16);
		command(word, arguments);
		fflush(stdout);
		alarm(0);
	}
	return 0;
}

/* For a command whose answer is one number. */
static inline void driver_answer(u64 value)
{
	printf("%llx\n", (unsigned long long)value);
}

/* For one whose answer is bytes. */
static inline void driver_show(const u8 *bytes, u64 size)
{
	for (u64 i = 0; i < size; i++)
		printf("%x ", bytes[i]);
	putchar('\n');
}

#endif
