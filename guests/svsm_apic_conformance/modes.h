/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other runs of this guest: enum run_mode. */
#ifndef MODES_H
#define MODES_H

void run_ticks(void);
void run_fuzz(void);

#endif
