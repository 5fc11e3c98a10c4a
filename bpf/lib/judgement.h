/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What policy made of a packet's flow, for those who are told. Blank where it was not asked. */
#pragma once

#include "abi/policy.h"

struct judgement {
	__u32 revision; /* that judged; 0: none */
	__u32 source_identity;
	__u32 destination_identity;
	__u32 rule;
	__u8 end;	/* enum hw_policy_direction plus 1: which end decided */
	__u8 verdict;	/* what to tell of a packet that passes: enum hw_event_verdict; 0: nothing */
	__u8 published; /* through a published port, to: */
	__u8 pad;
	__be16 backend_port;
	struct hw_ip backend;
};

/* All before `backend_port`. */
#define JUDGEMENT_BLANK __builtin_offsetof(struct judgement, backend_port)
