// One stretch of one map at a time is mapped, so that the process is no larger for it.
#include "window.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

// Of so many bytes, from where something is written: a page of services' slots.
static const size_t stretch = 512 * 1024;
static thread_local Window *mapped = nullptr;

uint8_t *Window::of(int fd, const bpf_map_info &map, size_t begin, size_t length)
{
	if (at_ && begin >= begin_ && begin + length <= begin_ + length_)
		return at_ + (begin - begin_);
	if (mapped)
		mapped->close();
	size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), base = begin / page * page;
	size_t end = std::min(std::max(begin + length, base + stretch), size_t{map.value_size} * map.max_entries);
	void *at = mmap(nullptr, end - base, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(base));
	if (at == MAP_FAILED)
		return nullptr;
	at_ = static_cast<uint8_t *>(at);
	begin_ = base;
	length_ = end - base;
	mapped = this;
	return at_ + (begin - base);
}

void Window::close()
{
	if (!at_)
		return;
	munmap(at_, length_);
	at_ = nullptr;
	if (mapped == this)
		mapped = nullptr;
}
