// Small calls that Node has no words for: mount(2), a datagram to a unix socket, and giving memory back.
#include "common.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace
{

// mount(source, target, type, flags, data)
void mount_at(const Napi::CallbackInfo &info)
{
	std::string source = text_of(info[0], "source"), target = text_of(info[1], "target"), type = text_of(info[2], "type");
	uint32_t flags = number_of(info[3], "flags");
	std::string data = text_of(info[4], "data");
	if (mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str()) != 0)
		throw make_error(info.Env(), errno, "mount", target);
}

// unixDatagram(address, text): one datagram; an address that begins with @ is abstract.
void unix_datagram(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string path = text_of(info[0], "address"), text = text_of(info[1], "text");
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	if (path.empty() || path.size() >= sizeof(address.sun_path))
		throw make_error(env, ENAMETOOLONG, "sendto(AF_UNIX)", path);
	memcpy(address.sun_path, path.data(), path.size());
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (!fd)
		throw make_error(env, errno, "socket(AF_UNIX)");
	auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
	if (sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr *>(&address), size) < 0)
		throw make_error(env, errno, "sendto(AF_UNIX)", path);
}

struct Range
{
	uintptr_t begin, end;
};

// What of this process is a private view of a file, and may not be written to now (proc(5)).
std::vector<Range> file_ranges()
{
	std::vector<Range> ranges;
	std::ifstream maps("/proc/self/maps");
	for (std::string line; std::getline(maps, line);) {
		uintptr_t begin, end;
		unsigned long inode;
		char permissions[5];
		if (sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &begin, &end, permissions, &inode) == 4 && inode != 0 && permissions[1] == '-' && permissions[3] == 'p')
			ranges.push_back({begin, end});
	}
	return ranges;
}

// A segment that was never writable holds what its file holds, relocations included, unless its pages were put there anew; any other may have been written to.
int forget_segments(dl_phdr_info *object, size_t, void *files)
{
	for (int at = 0; at < object->dlpi_phnum; at++) {
		const ElfW(Phdr) &segment = object->dlpi_phdr[at];
		if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W))
			continue;
		const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
		uintptr_t first = (object->dlpi_addr + segment.p_vaddr + page - 1) & ~(page - 1);
		uintptr_t last = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page - 1);
		for (const Range &file : *static_cast<const std::vector<Range> *>(files)) {
			uintptr_t begin = std::max(first, file.begin), end = std::min(last, file.end);
			if (begin < end)
				madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
		}
	}
	return 0;
}

// trim(): free heap and the pages of code and constants leave the process; what is used again is mapped again.
void trim(const Napi::CallbackInfo &)
{
	malloc_trim(0);
	std::vector<Range> files = file_ranges();
	dl_iterate_phdr(forget_segments, &files);
}

} // namespace

void export_host(Napi::Env env, Napi::Object exports)
{
	exports.Set("mount", Napi::Function::New(env, mount_at));
	exports.Set("trim", Napi::Function::New(env, trim));
	exports.Set("unixDatagram", Napi::Function::New(env, unix_datagram));
}
