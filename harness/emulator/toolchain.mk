# SPDX-License-Identifier: GPL-2.0-or-later
# Compiler, linker and output directory of everything that this repository compiles to freestanding programs.

# make's built-in value of CC is cc, which may not be installed.
ifeq ($(origin CC),default)
CC = gcc
endif
LD = ld
OBJCOPY = objcopy
BUILD ?= build
