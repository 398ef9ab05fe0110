# SPDX-License-Identifier: GPL-2.0-or-later
# How a guest's image is built: gcc and GNU binutils only. Included by a guest's Makefile, which sets NAME.
# TEXT: where in flash the code stays and runs, as that of SEC does; empty: it is copied to memory with the data.
# MORE_OBJECTS: that the guest's Makefile itself makes.

GUEST_LIB := $(dir $(lastword $(MAKEFILE_LIST)))
EMULATOR := $(GUEST_LIB)../../harness/emulator/
include $(EMULATOR)toolchain.mk

CFLAGS = -std=c11 -ffreestanding -mgeneral-regs-only -mno-red-zone $(if $(TEXT),-mcmodel=large,-mcmodel=small) -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -fno-pic -fno-pie -fno-toplevel-reorder \
	-O1 -g -Wall -Wextra -Werror -I$(EMULATOR)include -I$(GUEST_LIB)

LIB_OBJECTS = $(patsubst %,$(BUILD)/lib/%.o,$(notdir $(wildcard $(GUEST_LIB)*.c $(GUEST_LIB)*.S)))
OBJECTS = $(LIB_OBJECTS) $(patsubst %,$(BUILD)/%.o,$(wildcard *.c *.S)) $(MORE_OBJECTS)
LIB_HEADERS = $(wildcard $(EMULATOR)include/*.h $(GUEST_LIB)*.h)

all: $(BUILD)/$(NAME).fd

$(BUILD)/lib/%.o: $(GUEST_LIB)% $(LIB_HEADERS) $(GUEST_LIB)guest.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(BUILD)/%.o: % $(LIB_HEADERS) $(wildcard *.h) $(GUEST_LIB)guest.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I. -c $< -o $@

$(BUILD)/guest.ld: $(GUEST_LIB)guest.ld $(GUEST_LIB)layout.h
	@mkdir -p $(@D)
	$(CC) -E -P -x c $(if $(TEXT),-DTEXT=$(TEXT)) -I$(GUEST_LIB) $< -o $@

$(BUILD)/$(NAME).elf: $(OBJECTS) $(BUILD)/guest.ld
	$(LD) -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments -T $(BUILD)/guest.ld $(OBJECTS) -o $@

# The image as it is in flash, by load addresses.
$(BUILD)/$(NAME).fd: $(BUILD)/$(NAME).elf
	$(OBJCOPY) -O binary --gap-fill 0xFF $< $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.SECONDARY:
