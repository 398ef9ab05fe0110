/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that C and assembly share, and tests/hostile/written.py with them. */
#ifndef OPERATION_H
#define OPERATION_H

#define DOES_READ  1
#define DOES_WRITE 2
#define DOES_EXACT 4 /* RAX has the whole value that was read or written */

#define PATH_NONE 0
#define PATH_MMIO 1
#define PATH_MSR  2
#define PATH_SVSM 3

#endif
