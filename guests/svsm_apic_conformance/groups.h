/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The groups of points, a file each; main.c has their order. */
#ifndef GROUPS_H
#define GROUPS_H

#include "tap.h"

extern const struct group apic_base_group, core_group, calls_group, registers_group, values_group, delivery_group,
	priority_group, classes_group, in_service_group, eoi_group, nmi_group, masking_group, other_vcpu_group, other_doorbell_group,
	other_vcpu_again_group, vectors_group, timer_group, level_group, registration_group, registration_others_group,
	registration_again_group;

#endif
