/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What else this guest can do than run its points: enum run_mode. */
#ifndef MODES_H
#define MODES_H

#include "types.h"

void run_ticks(u64 argument);
void run_fuzz(u64 argument);

#endif
