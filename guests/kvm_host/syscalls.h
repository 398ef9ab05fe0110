/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System calls of Linux on x86-64, without a C library. Each returns the kernel's result: a negative errno on error. */
#ifndef KVM_HOST_SYSCALLS_H
#define KVM_HOST_SYSCALLS_H

#include <stddef.h>

/* Linux arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	NR_read = 0,
	NR_write = 1,
	NR_open = 2,
	NR_close = 3,
	NR_dup2 = 33,
	NR_clone = 56,
	NR_execve = 59,
	NR_wait4 = 61,
	NR_mkdir = 83,
	NR_setsid = 112,
	NR_sync = 162,
	NR_mount = 165,
	NR_reboot = 169,
	NR_inotify_add_watch = 254,
	NR_ppoll = 271,
	NR_inotify_init1 = 294,
	NR_finit_module = 313,
};

/* uapi asm-generic/fcntl.h, errno-base.h, linux/inotify.h, poll.h, reboot.h, signal.h */
#define OPEN_READ       0
#define OPEN_READ_WRITE 2
#define EXISTS          17
#define NOTIFY_CREATE   0x100
#define NOTIFY_CLOEXEC  0x80000
#define POLL_IN         1
#define REBOOT_MAGIC    0xfee1dead
#define REBOOT_MAGIC_2  0x28121969
#define REBOOT_POWER_OFF 0x4321fedc
#define REBOOT_RESTART  0x01234567
#define SIGNAL_CHILD    17

struct timespec {
	long seconds, nanoseconds;
};

struct pollfd {
	int fd;
	short events, revents;
};

static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static inline long call3(long number, long a, long b, long c) { return call6(number, a, b, c, 0, 0, 0); }

static inline long sys_read(int fd, void *to, size_t size) { return call3(NR_read, fd, (long)to, (long)size); }
static inline long sys_write(int fd, const void *from, size_t size)
{
	return call3(NR_write, fd, (long)from, (long)size);
}
static inline long sys_open(const char *path, int flags) { return call3(NR_open, (long)path, flags, 0); }
static inline long sys_close(int fd) { return call3(NR_close, fd, 0, 0); }
static inline long sys_dup2(int from, int to) { return call3(NR_dup2, from, to, 0); }
static inline long sys_mkdir(const char *path, int mode) { return call3(NR_mkdir, (long)path, mode, 0); }
static inline long sys_mount(const char *source, const char *place, const char *type)
{
	return call6(NR_mount, (long)source, (long)place, (long)type, 0, 0, 0);
}
static inline long sys_finit_module(int fd, const char *options)
{
	return call3(NR_finit_module, fd, (long)options, 0);
}
static inline long sys_inotify_init(void) { return call3(NR_inotify_init1, NOTIFY_CLOEXEC, 0, 0); }
static inline long sys_inotify_add_watch(int fd, const char *path, int events)
{
	return call3(NR_inotify_add_watch, fd, (long)path, events);
}
/* The kernel writes the remaining time back. */
static inline long sys_ppoll(struct pollfd *fds, long count, struct timespec *timeout)
{
	return call6(NR_ppoll, (long)fds, count, (long)timeout, 0, 0, 0);
}
static inline long sys_fork(void) { return call6(NR_clone, SIGNAL_CHILD, 0, 0, 0, 0, 0); }
static inline long sys_setsid(void) { return call3(NR_setsid, 0, 0, 0); }
static inline long sys_execve(const char *path, char *const *arguments, char *const *environment)
{
	return call3(NR_execve, (long)path, (long)arguments, (long)environment);
}
static inline long sys_wait(void) { return call6(NR_wait4, -1, 0, 0, 0, 0, 0); }
static inline long sys_sync(void) { return call3(NR_sync, 0, 0, 0); }
static inline long sys_reboot(unsigned int command)
{
	return call3(NR_reboot, REBOOT_MAGIC, REBOOT_MAGIC_2, command);
}

#endif
