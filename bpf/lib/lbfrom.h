/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From where packets to backends come. Other nodes take nothing but what comes from an address by which they know this one. Plain servers are asked,
 * and sent wrapped packets, from an address of the uplinks: of whatever else the host has, networks may know no way back, and filters no right to it.
 */
#pragma once

#include <stdbool.h>

#include "abi/lb.h"
#include "lib/config.h"

/* `mode`: enum hw_lb_mode. 0: there is none. */
static __always_inline __be32 lbfrom4(__u8 mode)
{
	return mode == HW_LB_GENEVE ? hw_config.node_ipv4 : hw_config.lb_ipv4;
}

/* All zero: there is none. */
static __always_inline const volatile struct hw_ip *lbfrom6(__u8 mode)
{
	return mode == HW_LB_GENEVE ? &hw_config.node_ipv6 : &hw_config.lb_ipv6;
}

static __always_inline bool lbfrom_is_known(__u8 mode, bool outer4)
{
	const volatile struct hw_ip *six = lbfrom6(mode);

	return outer4 ? lbfrom4(mode) != 0 : (six->words[0] | six->words[1] | six->words[2] | six->words[3]) != 0;
}
