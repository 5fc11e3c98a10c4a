/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which source ports a translated flow may take: 1024…65535 without the host's ephemeral range, so that
 * none meets a port of the host's own. Arithmetic only.
 */
#pragma once

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define PORTS_FIRST 1024
#define PORTS_LAST  65535

static __always_inline __u32 ports_forbidden(__u16 low, __u16 high)
{
	return high < low || high < PORTS_FIRST ? 0 : high - (low < PORTS_FIRST ? PORTS_FIRST : low) + 1;
}

static __always_inline __u32 ports_available(__u16 low, __u16 high)
{
	return PORTS_LAST - PORTS_FIRST + 1 - ports_forbidden(low, high);
}

/* The port number `index` of those available; `index` wraps around. 0: there is none. */
static __always_inline __u16 ports_pick(__u32 index, __u16 low, __u16 high)
{
	__u32 available = ports_available(low, high);
	__u32 port;

	if (!available)
		return 0;
	port = PORTS_FIRST + index % available;
	if (port >= low)
		port += ports_forbidden(low, high);
	return (__u16)port;
}
