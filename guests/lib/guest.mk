# SPDX-License-Identifier: GPL-2.0-or-later
# How a guest's image is built: gcc and GNU binutils only. Included by a guest's Makefile, which sets NAME.

GUEST_LIB := $(dir $(lastword $(MAKEFILE_LIST)))
INCLUDE := $(GUEST_LIB)../../harness/emulator/include

# make has a CC of its own, cc, which need not be there.
ifeq ($(origin CC),default)
CC = gcc
endif
LD = ld
OBJCOPY = objcopy
BUILD ?= build

CFLAGS = -std=gnu11 -ffreestanding -mgeneral-regs-only -mno-red-zone -mcmodel=small -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -fno-pic -fno-pie -fno-toplevel-reorder \
	-O1 -g -Wall -Wextra -Werror -I$(INCLUDE) -I$(GUEST_LIB) -I.

OBJECTS = $(patsubst %,$(BUILD)/lib/%.o,$(notdir $(wildcard $(GUEST_LIB)*.c $(GUEST_LIB)*.S))) \
	$(patsubst %,$(BUILD)/%.o,$(wildcard *.c *.S))
HEADERS = $(wildcard $(INCLUDE)/*.h $(GUEST_LIB)*.h *.h)

all: $(BUILD)/$(NAME).fd

$(BUILD)/lib/%.o: $(GUEST_LIB)% $(HEADERS) $(GUEST_LIB)guest.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(BUILD)/%.o: % $(HEADERS) $(GUEST_LIB)guest.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(BUILD)/guest.ld: $(GUEST_LIB)guest.ld $(GUEST_LIB)layout.h
	@mkdir -p $(@D)
	$(CC) -E -P -x c -I$(GUEST_LIB) $< -o $@

$(BUILD)/$(NAME).elf: $(OBJECTS) $(BUILD)/guest.ld
	$(LD) -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments -T $(BUILD)/guest.ld $(OBJECTS) -o $@

# The image as it lies in flash, by load addresses.
$(BUILD)/$(NAME).fd: $(BUILD)/$(NAME).elf
	$(OBJCOPY) -O binary --gap-fill 0xFF $< $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.SECONDARY:
