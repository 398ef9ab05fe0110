/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chip's keys. They are a test's: everybody can read them here. A report that is signed with them says nothing about
 * a guest, and the certificates for them (harness/snp_harness/platforms/test_chain) are not AMD's.
 */
#ifndef SNP_HW_PSP_KEYS_H
#define SNP_HW_PSP_KEYS_H

/* The VCEK's private key, a number of 48 bytes. */
#define PSP_TEST_VCEK    "snp-harness test key, not AMD's, known to anyone"
/* The chip's ID, 64 bytes: in reports, and in the VCEK's certificate. */
#define PSP_TEST_CHIP_ID "snp-harness test chip, not AMD's: its reports attest to nothing."

#endif
