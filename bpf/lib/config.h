/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The configuration of this object, written by the agent before it is loaded. */
#pragma once

#include "abi/types.h"

const volatile struct hw_config hw_config = { 0 };
