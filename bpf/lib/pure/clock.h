/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Times as the low 32 bits of jiffies, which wrap: compared by difference. Arithmetic only. */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline int clock_expired(__u32 expires, __u32 now)
{
	return (__s32)(expires - now) <= 0;
}

/* The same of what never lives longer than `longest`: what expired long ago does not come to life when jiffies are half round. */
static __always_inline int clock_dead(__u32 expires, __u32 now, __u32 longest)
{
	return expires - now - 1 >= longest;
}

/* Changes every 256 jiffies, a quarter of a second to 2.5 s: how often a flow's expiry is moved at most. */
static __always_inline __u16 clock_epoch(__u32 now)
{
	return (__u16)(now >> 8);
}
