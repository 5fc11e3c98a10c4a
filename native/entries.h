// Many entries of a map at once.
#pragma once

#include "common.h"

// `count`: of the entries, and then of those that were written. In a kernel that has no batches for this kind of map it is one call for each. 0 or a negated errno.
int update_entries(
	int fd, const Bytes &keys, size_t key_size, const Bytes &values, size_t value_size, uint32_t *count, uint64_t flags);
