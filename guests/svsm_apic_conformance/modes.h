/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What else this guest can do than run its points: enum run_mode. */
#ifndef MODES_H
#define MODES_H

void run_ticks(void);
void run_fuzz(void);

#endif
