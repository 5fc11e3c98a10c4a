// A stretch of a map in this process's memory, kept from one write to the next: to take one away tells every CPU that runs the process, which is more than to write 8 KiB.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>

class Window
{
public:
	Window() = default;
	Window(const Window &) = delete;
	Window &operator=(const Window &) = delete;
	~Window() { close(); }

	// Bytes of an array's values, all of which it has; nullptr and errno: it cannot be mapped. Those of another window of this thread are gone then.
	uint8_t *of(int fd, const bpf_map_info &map, size_t begin, size_t length);
	void close();

private:
	uint8_t *at_ = nullptr;
	size_t begin_ = 0;
	size_t length_ = 0;
};
