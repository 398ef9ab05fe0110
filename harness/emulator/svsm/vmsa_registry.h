/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's VMSA pages and the calling area that goes with each. Pure: no hardware.
 * A page is at most one of: a VMSA, the calling area of one vCPU.
 */
#ifndef SVSM_VMSA_REGISTRY_H
#define SVSM_VMSA_REGISTRY_H

#include "types.h"

#define VMSA_REGISTRY_SIZE 128

struct vmsa_entry {
	u64 vmsa_gpa;     /* page aligned; 0: free entry */
	u64 caa_gpa;      /* 8 byte aligned */
	u32 vcpu;         /* index */
	bool guest_owned; /* made by CREATE_VCPU, in guest memory */
};

struct vmsa_registry {
	struct vmsa_entry entry[VMSA_REGISTRY_SIZE];
};

enum registry_result {
	REGISTRY_OK = 0,
	REGISTRY_CONFLICT, /* a page is already in use */
	REGISTRY_FULL,
};

/* The entry of a VMSA page, or NULL. */
struct vmsa_entry *registry_find(struct vmsa_registry *registry, u64 vmsa_gpa);

/* [gpa, gpa + size) holds a VMSA page. */
bool registry_has_vmsa(const struct vmsa_registry *registry, u64 gpa, u64 size);

enum registry_result registry_add(struct vmsa_registry *registry, struct vmsa_entry entry);
void registry_remove(struct vmsa_registry *registry, u64 vmsa_gpa);

/* Moves the calling area of a VMSA. REGISTRY_CONFLICT: the page belongs to another entry. */
enum registry_result registry_move_caa(struct vmsa_registry *registry, u64 vmsa_gpa, u64 caa_gpa);

#endif
