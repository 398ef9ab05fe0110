/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other runs of this guest: enum run_mode. */
#ifndef MODES_H
#define MODES_H

#include "types.h"

void run_ticks(u64 argument);
void run_fuzz(u64 argument);

#endif
