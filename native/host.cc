// Small calls that Node has no words for: mount(2) and a datagram to a unix socket.
#include "common.h"

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

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

} // namespace

void export_host(Napi::Env env, Napi::Object exports)
{
	exports.Set("mount", Napi::Function::New(env, mount_at));
	exports.Set("unixDatagram", Napi::Function::New(env, unix_datagram));
}
