/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SNP_LAUNCH_LIST_H
#define SNP_LAUNCH_LIST_H

#include "launch.h"
#include "vcpu.h"

void launch_list_check(struct hypervisor *hv); /* stops the run if the list is not one */
const struct launch_list *launch_list(const struct hypervisor *hv);
u8 *launch_list_data(const struct hypervisor *hv, const struct launch_entry *entry); /* its contents, which are kept */
u64 launch_list_spa(const struct hypervisor *hv, const struct launch_entry *entry, enum launch_copy copy); /* the same in a copy */

static inline bool launch_is_memory(const struct launch_entry *entry) { return entry->kind >= LAUNCH_MEMORY; }

#endif
