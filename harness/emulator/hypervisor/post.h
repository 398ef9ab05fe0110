/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fixed interrupt for a virtual APIC, and where it came from. */
#ifndef SNP_POST_H
#define SNP_POST_H

#include "vcpu.h"

static inline void post_interrupt(struct vcpu *vcpu, struct vapic *apic, u8 vector, bool level, enum record_irq_source source)
{
	if (vapic_post(apic, vector, level))
		vcpu->irq_source[vector] = (u8)source;
}

#endif
