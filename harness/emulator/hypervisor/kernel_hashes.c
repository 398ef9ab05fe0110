/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel_hashes.h"
#include "bytes.h"
#include "fw_cfg.h"
#include "sha256.h"

/* Items of fw_cfg (QEMU's include/standard-headers/linux/qemu_fw_cfg.h). */
#define KERNEL_SIZE  0x08
#define KERNEL_DATA  0x11
#define INITRD_SIZE  0x0B
#define INITRD_DATA  0x12
#define CMDLINE_SIZE 0x14
#define CMDLINE_DATA 0x15
#define SETUP_SIZE   0x17
#define SETUP_DATA   0x18

struct __attribute__((packed)) entry {
	u8 guid[16];
	u16 length; /* with GUID and length */
	u8 hash[SHA256_SIZE];
};

struct __attribute__((packed)) table {
	u8 guid[16];
	u16 length;
	struct entry cmdline, initrd, kernel;
	u8 padding[8];
};
_Static_assert(sizeof(struct table) == KERNEL_HASHES_SIZE, "padded to 16 bytes");

/* 9438d606-4f22-4cc9-b479-a793d411fd21 and so on, as edk2's OvmfPkg/AmdSev/BlobVerifierLibSevHashes has them. */
static const struct table empty = {
	.guid = { 0x06, 0xD6, 0x38, 0x94, 0x22, 0x4F, 0xC9, 0x4C, 0xB4, 0x79, 0xA7, 0x93, 0xD4, 0x11, 0xFD, 0x21 },
	.length = offsetof(struct table, padding),
	.cmdline = { { 0xD8, 0x2D, 0xD0, 0x97, 0x20, 0xBD, 0x94, 0x4C, 0xAA, 0x78, 0xE7, 0x71, 0x4D, 0x36, 0xAB, 0x2A },
		     sizeof(struct entry), { 0 } },
	.initrd = { { 0x31, 0xF7, 0xBA, 0x44, 0x2F, 0x3A, 0xD7, 0x4B, 0x9A, 0xF1, 0x41, 0xE2, 0x91, 0x69, 0x78, 0x1D },
		    sizeof(struct entry), { 0 } },
	.kernel = { { 0x37, 0x94, 0xE7, 0x4D, 0xD2, 0xAB, 0x7F, 0x42, 0xB8, 0x35, 0xD5, 0xB1, 0x72, 0xD2, 0x04, 0x5B },
		    sizeof(struct entry), { 0 } },
};

static u32 number(struct hypervisor *hv, u16 item)
{
	u32 value = 0, size = sizeof(value);
	const u8 *bytes = fw_cfg_read(hv, item, &size);

	if (bytes && size == sizeof(value))
		memcpy(&value, bytes, size);
	return value;
}

static void add_item(struct hypervisor *hv, struct sha256 *sha, u16 size_item, u16 data_item)
{
	u32 left = number(hv, size_item);
	u16 item = data_item;

	while (left) {
		u32 size = left;
		const u8 *bytes = fw_cfg_read(hv, item, &size);

		if (!bytes)
			return;
		sha256_add(sha, bytes, size);
		left -= size;
		item = FW_CFG_CONTINUE;
	}
}

void kernel_hashes_fill(struct hypervisor *hv, u8 *memory)
{
	struct table *table = (struct table *)memory;
	struct sha256 sha;

	if (!number(hv, KERNEL_SIZE))
		return;
	*table = empty;
	sha256_begin(&sha);
	add_item(hv, &sha, CMDLINE_SIZE, CMDLINE_DATA); /* with its NUL */
	sha256_end(&sha, table->cmdline.hash);
	sha256_begin(&sha);
	add_item(hv, &sha, INITRD_SIZE, INITRD_DATA);
	sha256_end(&sha, table->initrd.hash);
	sha256_begin(&sha);
	add_item(hv, &sha, SETUP_SIZE, SETUP_DATA);
	add_item(hv, &sha, KERNEL_SIZE, KERNEL_DATA);
	sha256_end(&sha, table->kernel.hash);
}
