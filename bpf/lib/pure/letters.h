/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Capital letters made small, four bytes at once. Arithmetic only. */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline __u32 letters_small(__u32 word)
{
	__u32 low = word & 0x7f7f7f7f;
	__u32 from_a = low + (0x80 - 'A') * 0x01010101U;
	__u32 beyond_z = low + (0x7f - 'Z') * 0x01010101U;

	return word | ((from_a & ~beyond_z & ~word & 0x80808080) >> 2);
}
