/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that C and assembly share. */
#ifndef NUMBERS_H
#define NUMBERS_H

#define END_OFFSET         16 /* struct test_parameters, end */
#define END_UNPAGED_ACCESS 10 /* enum ending, END_PRIVATE_MMIO */

#endif
