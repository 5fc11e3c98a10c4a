/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Internet checksums (RFC 1071) kept right by differences (RFC 1624). Arithmetic only.
 *
 * A difference is gathered in 64 bits, as new words plus the complements of old ones, and folded once.
 * Words are as they lie in memory, so that byte order never matters.
 */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Words of whatever lies there: a header is read as words after it was written as fields. */
typedef __u16 __attribute__((may_alias)) checksum_u16;
typedef __u32 __attribute__((may_alias)) checksum_u32;

static __always_inline __u64 checksum_words(const void *words, int count)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < count; i++)
		sum += ((const checksum_u32 *)words)[i];
	return sum;
}

static __always_inline __u64 checksum_replace32(__u64 difference, __u32 old, __u32 new)
{
	return difference + (__u32)~old + new;
}

static __always_inline __u64 checksum_replace16(__u64 difference, __u16 old, __u16 new)
{
	return difference + (__u16)~old + new;
}

/* For the kernel's checksum helpers, which take a sum of 32 bits. */
static __always_inline __u32 checksum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum;
}

static __always_inline __u16 checksum_fold16(__u64 sum)
{
	__u32 folded = checksum_fold32(sum);

	folded = (folded & 0xffff) + (folded >> 16);
	folded = (folded & 0xffff) + (folded >> 16);
	return (__u16)folded;
}

/* The checksum field after the words that it covers have changed by `difference`. */
static __always_inline __u16 checksum_apply(__u16 field, __u64 difference)
{
	return (__u16)~checksum_fold16((__u16)~field + (__u64)checksum_fold16(difference));
}
