/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nested KVM host's first process. It mounts file systems, loads kernel modules and runs one program, whose
 * standard input and output are a virtio-serial port. When the program ends, the machine powers off.
 *
 * Freestanding and static: it needs only the kernel. An error is reported in one line on the console that starts with
 * "kvm-host: ", and the machine powers off.
 */
#include <stdbool.h>
#include <stddef.h>

#include "syscalls.h"

#define MODULES   "/lib/modules.list" /* one path a line, in loading order */
#define PORT_DIR  "/dev"
#define PORT      "/dev/vport0p1"     /* the first virtio-serial device's port 1 */
#define PROGRAM   "/usr/bin/python3"
#define START     "/usr/lib/kvm-host/start.py"
#define PORT_WAIT_S 20
#define LIST_SIZE 4096
#define EVENTS_SIZE 4096

static const struct mount {
	const char *type, *place;
	bool needed;
} mounts[] = {
	{ "proc", "/proc", true },
	{ "sysfs", "/sys", true },
	{ "devtmpfs", "/dev", true },
	{ "tracefs", "/sys/kernel/tracing", true },
	{ "tmpfs", "/dev/shm", false },
	{ "tmpfs", "/tmp", true },
};

static char *const program[] = { PROGRAM, "-I", "-S", "-B", "-u", START, NULL };
static char *const environment[] = { "PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "NO_COLOR=1", NULL };

static size_t length(const char *text)
{
	size_t count = 0;

	while (text[count])
		count++;
	return count;
}

static void print(const char *text) { sys_write(2, text, length(text)); }

static void print_number(long number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number && at);
	sys_write(2, digits + at, sizeof(digits) - at);
}

static _Noreturn void power_off(void)
{
	sys_sync();
	sys_reboot(REBOOT_POWER_OFF);
	/* A machine that cannot power off: QEMU runs it with an option that makes a reset end it too. */
	sys_reboot(REBOOT_RESTART);
	for (;;)
		;
}

/* error: a negative errno, as the kernel returns it. */
static _Noreturn void fail(const char *what, const char *which, long error)
{
	print("kvm-host: cannot ");
	print(what);
	print(" ");
	print(which);
	print(": error ");
	print_number(-error);
	print("\n");
	power_off();
}

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		long error;

		sys_mkdir(mounts[i].place, 0755);
		error = sys_mount(mounts[i].type, mounts[i].place, mounts[i].type);
		if (error < 0 && mounts[i].needed)
			fail("mount", mounts[i].place, error);
	}
}

static void load_module(const char *path)
{
	long file = sys_open(path, OPEN_READ);
	long error = file < 0 ? file : sys_finit_module((int)file, "");

	if (error < 0 && error != -EXISTS)
		fail("load", path, error);
	sys_close((int)file);
}

static void load_modules(void)
{
	static char list[LIST_SIZE + 1];
	long file = sys_open(MODULES, OPEN_READ);
	long count = file < 0 ? file : sys_read((int)file, list, LIST_SIZE);
	char *start = list;

	if (count < 0)
		fail("read", MODULES, count);
	for (long i = 0; i < count; i++) {
		if (list[i] != '\n')
			continue;
		list[i] = 0;
		load_module(start);
		start = list + i + 1;
	}
	sys_close((int)file);
}

/* The port's file appears when driver and device are connected. This waits for it without polling. */
static int open_port(void)
{
	struct timespec left = { PORT_WAIT_S, 0 };
	static char events[EVENTS_SIZE];
	long notify = sys_inotify_init();
	long port;

	if (notify < 0 || sys_inotify_add_watch((int)notify, PORT_DIR, NOTIFY_CREATE) < 0)
		fail("watch", PORT_DIR, notify);
	while ((port = sys_open(PORT, OPEN_READ_WRITE)) < 0) {
		struct pollfd wait = { (int)notify, POLL_IN, 0 };

		if (sys_ppoll(&wait, 1, &left) <= 0)
			fail("open", PORT, port);
		sys_read((int)notify, events, sizeof(events));
	}
	sys_close((int)notify);
	return (int)port;
}

static long start(int port)
{
	long child = sys_fork();

	if (child)
		return child;
	sys_setsid();
	sys_dup2(port, 0);
	sys_dup2(port, 1);
	sys_close(port);
	fail("run", PROGRAM, sys_execve(PROGRAM, program, environment));
}

_Noreturn void init_main(void);

_Noreturn void init_main(void)
{
	long child, ended;
	int port;

	mount_all();
	load_modules();
	port = open_port();
	child = start(port);
	if (child < 0)
		fail("start", PROGRAM, child);
	sys_close(port);
	/* Other processes that end are orphans. */
	do
		ended = sys_wait();
	while (ended >= 0 && ended != child);
	power_off();
}
