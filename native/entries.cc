// Many entries of a map at once.
#include "entries.h"

#include <bpf/bpf.h>

// ENOTSUPP, the kernel's own number: this kind of map has no batches in this kernel.
static const int no_batches = -524;

int update_entries(
	int fd, const Bytes &keys, size_t key_size, const Bytes &values, size_t value_size, uint32_t *count, uint64_t flags)
{
	DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, options);
	options.elem_flags = flags;
	uint32_t wanted = *count;
	int error = wanted == 0 ? 0 : bpf_map_update_batch(fd, keys.data, values.data, count, &options);
	if (error != no_batches && error != -EOPNOTSUPP)
		return error;
	error = 0;
	for (*count = 0; *count < wanted && !error; *count += error ? 0 : 1)
		error = bpf_map_update_elem(fd, keys.data + *count * key_size, values.data + *count * value_size, flags);
	return error;
}
