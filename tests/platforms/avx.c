/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux's first process, which uses AVX: four processes at a time keep values in all YMM registers, while signal handlers
 * and the others use them, too; then the registers go through an area in compacted format, as the dynamic linker does it.
 */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define ROUNDS    30
#define REGISTERS 16

typedef uint64_t ymm[4] __attribute__((aligned(32)));

static volatile sig_atomic_t signals;

static void on_alarm(int number)
{
	(void)number;
	__asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0; vmovdqa %%ymm0, %%ymm15" : : : "xmm0", "xmm15");
	signals++;
}

#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11) do(12) do(13) do(14) do(15)
#define LOAD(n)  "vmovdqa " #n "*32(%0), %%ymm" #n "\n"
#define STORE(n) "vmovdqa %%ymm" #n ", " #n "*32(%1)\n"
#define WAIT     "mov $100000, %%ecx\n1: dec %%ecx; jnz 1b\n"
#define YIELD    "mov $24, %%eax; syscall\n"

static int keep(uint64_t seed)
{
	static ymm in[REGISTERS], out[REGISTERS];

	for (int i = 0; i < REGISTERS * 4; i++)
		in[i / 4][i % 4] = seed = seed * 6364136223846793005ull + 1;
	for (int i = 0; i < ROUNDS; i++) {
		__asm__ volatile(EACH(LOAD) WAIT YIELD WAIT EACH(STORE)
				 : : "r"(in), "r"(out)
				 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
				   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
		if (memcmp(in, out, sizeof(in)))
			return 1;
	}
	return 0;
}

static int run_one(uint64_t seed)
{
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } };

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	return keep(seed) || !signals;
}

static int compact(void)
{
	uint8_t *area = aligned_alloc(4096, 8192);
	ymm in = { 1, 2, 3, 4 }, out;

	for (uint8_t *at = area; at < area + 4096 + 64; at += 64) {
		memset(area, 0, 8192);
		in[1]++;
		__asm__ volatile("vmovdqa (%1), %%ymm7; xsavec (%0); vpxor %%ymm7, %%ymm7, %%ymm7; xrstor (%0); vmovdqa %%ymm7, (%2)"
				 : : "r"(at), "r"(in), "r"(out), "a"(7), "d"(0) : "memory", "xmm7");
		if (memcmp(in, out, sizeof(in)))
			return 1;
	}
	return 0;
}

static void print_flags(void)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[4096];

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "flags", 5)) {
			printf("avx-test %s", line);
			break;
		}
	}
}

int main(void)
{
	int failed = 0;

	mount("proc", "/proc", "proc", 0, NULL);
	print_flags();
	for (uint64_t i = 1; i <= PROCESSES; i++) {
		if (!fork())
			_exit(run_one(i));
	}
	for (int i = 0, status; i < PROCESSES; i++) {
		wait(&status);
		failed += status != 0;
	}
	printf("avx-test: %d of %d processes failed, compacted format %s\n", failed, PROCESSES, compact() ? "failed" : "ok");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
