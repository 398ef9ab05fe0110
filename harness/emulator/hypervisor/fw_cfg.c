/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fw_cfg.h"
#include "bytes.h"
#include "guard.h"
#include "layout.h"
#include "memory.h"
#include "x86.h"

#define BUFFER_SIZE 0x20000u /* QEMU's file of ACPI tables */

#define FACS      0x53434146u /* "FACS": QEMU's first table, the only one with an alignment */
#define DMAR      0x52414D44u /* "DMAR" */
#define BOCHS     0x48434F42u /* "BOCH": QEMU's OEM ID, without -machine x-oem-id */
#define OEM_TABLE 0x314D454Fu /* "OEM1" */
#define TABLE_LEAST 36u /* bytes of a table's header */

#define CONTROL_ERROR  BIT(0)
#define CONTROL_READ   BIT(1)
#define CONTROL_SKIP   BIT(2)
#define CONTROL_SELECT BIT(3) /* the item in 31:16 */
#define CONTROL_WRITE  BIT(4)

/* Big endian. */
struct command {
	u32 control;
	u32 length;
	u64 address;
};

static u32 swap32(u32 value) { return __builtin_bswap32(value); }

void fw_cfg_setup(struct hypervisor *hv) { hv->fw_cfg_buffer = hw_take(hv->hw, BUFFER_SIZE, PAGE_SIZE); }

/*
 * A command of the hypervisor's own, to or from the buffer. QEMU completes it before the OUT ends. The address's high half
 * is 0, its state after each command: a guest could cover that port by an I/O BAR, and make the address another one.
 */
static bool carry_out(struct hypervisor *hv, u32 control, u32 length)
{
	volatile struct command *command = (volatile struct command *)FW_CFG_COMMAND;

	command->control = swap32(control);
	command->length = swap32(length);
	command->address = __builtin_bswap64((u64)hv->fw_cfg_buffer);
	outl(FW_CFG_DMA + 4, swap32(FW_CFG_COMMAND));
	return !command->control;
}

const u8 *fw_cfg_read(struct hypervisor *hv, u16 item, u32 *size)
{
	u32 select = item == FW_CFG_CONTINUE ? 0 : (u32)CONTROL_SELECT | (u32)item << 16;

	if (*size > BUFFER_SIZE)
		*size = BUFFER_SIZE;
	return carry_out(hv, select | (u32)CONTROL_READ, *size) ? hv->fw_cfg_buffer : NULL;
}

/*
 * The ACPI table of QEMU's IOMMU, which is not the guest's, becomes one that no system reads (ACPI 6.5, 5.2.6: signature,
 * length, revision, checksum, OEM ID; the guest computes the checksum). The tables follow each other. A file that begins
 * with another one is not searched: a kernel has megabytes.
 */
static void hide_iommu(u8 *buffer, u32 size)
{
	u32 at = 0, length;

	if (size < TABLE_LEAST || *(a32 *)buffer != FACS)
		return;
	for (; size - at >= TABLE_LEAST; at += length) {
		length = *(a32 *)(buffer + at + 4);
		if (*(a32 *)(buffer + at) == DMAR && *(a32 *)(buffer + at + 10) == BOCHS)
			*(a32 *)(buffer + at) = OEM_TABLE;
		if (length < TABLE_LEAST || length > size - at) /* behind the last one are zeros */
			return;
	}
}

/* Between the buffer and the guest's memory, page by page. What is not shared stays as it is, and is read as zeros. */
static void copy(struct vcpu *vcpu, u64 gpa, u8 *buffer, u64 size, bool write)
{
	while (size) {
		u64 room = PAGE_SIZE - (gpa & (PAGE_SIZE - 1));
		u64 part = size < room ? size : room;
		u8 *memory = memory_shared(vcpu->hv, gpa, part);

		if (!memory)
			guard_refused(vcpu, RECORD_REFUSED_DMA, gpa, 0, part);
		if (memory && write)
			memcpy(memory, buffer, part);
		else if (memory)
			memcpy(buffer, memory, part);
		else if (!write)
			memset(buffer, 0, part);
		gpa += part;
		buffer += part;
		size -= part;
	}
}

/* In parts of the buffer's size; QEMU keeps the item and the position in it from one command to the next. */
static bool transfer(struct vcpu *vcpu, u32 control, u64 address, u32 length)
{
	struct hypervisor *hv = vcpu->hv;
	u32 kind = control & (CONTROL_READ | CONTROL_WRITE | CONTROL_SKIP);
	bool ok = !(control & CONTROL_SELECT) || carry_out(hv, control & ~(u32)(CONTROL_READ | CONTROL_WRITE | CONTROL_SKIP), 0);

	while (ok && kind && length) {
		u32 part = length < BUFFER_SIZE ? length : BUFFER_SIZE;

		if (!(kind & CONTROL_READ) && (kind & CONTROL_WRITE))
			copy(vcpu, address, hv->fw_cfg_buffer, part, false);
		ok = carry_out(hv, kind, part);
		if (ok && (kind & CONTROL_READ)) {
			hide_iommu(hv->fw_cfg_buffer, part);
			copy(vcpu, address, hv->fw_cfg_buffer, part, true);
		}
		address += part;
		length -= part;
	}
	return ok;
}

static void run(struct vcpu *vcpu, u64 gpa)
{
	volatile struct command *guests = (volatile struct command *)memory_shared(vcpu->hv, gpa, sizeof(*guests));
	bool ok;

	if (!guests) { /* as with QEMU on an SNP host: the device cannot read it, and the guest waits in vain */
		guard_refused(vcpu, RECORD_REFUSED_DMA, gpa, 0, sizeof(*guests));
		return;
	}
	ok = transfer(vcpu, swap32(guests->control), __builtin_bswap64(guests->address), swap32(guests->length));
	guests->control = swap32(ok ? 0 : CONTROL_ERROR);
}

void fw_cfg_dma(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	struct hypervisor *hv = vcpu->hv;

	if (size != 4)
		return;
	if (port == FW_CFG_DMA)
		hv->fw_cfg_high = swap32(value);
	if (port != FW_CFG_DMA + 4)
		return;
	run(vcpu, (u64)hv->fw_cfg_high << 32 | swap32(value));
	hv->fw_cfg_high = 0;
}
