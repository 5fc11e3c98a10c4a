// Network namespaces. A thread that lives for one call enters, makes the socket and ends: a socket stays in the
// namespace it was made in, and no thread of Node's ever has to come back from one.
#include "netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>
#include <thread>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

Fd socket_in(const std::string &path, int domain, int type, int protocol)
{
	auto make = [&] { return Fd(socket(domain, type | SOCK_CLOEXEC, protocol)); };
	if (path.empty()) {
		Fd made = make();
		if (!made)
			throw Failure{errno, "socket", ""};
		return made;
	}
	Fd space(open(path.c_str(), O_RDONLY | O_CLOEXEC));
	if (!space)
		throw Failure{errno, "open", path};
	Fd made;
	Failure failure{0, "", path};
	try {
		std::thread([&] {
			if (setns(space.get(), CLONE_NEWNET) != 0)
				failure = {errno, "setns", path};
			else if (!(made = make()))
				failure = {errno, "socket", path};
		}).join();
	} catch (const std::system_error &error) {
		throw Failure{error.code().value(), "pthread_create", path};
	}
	if (!made)
		throw failure;
	return made;
}

// netnsCookie(path | undefined): a bigint, undefined where the kernel has none.
static Napi::Value netns_cookie(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	try {
		Fd probe = socket_in(info[0].IsUndefined() ? "" : text_of(info[0], "path"), AF_INET, SOCK_DGRAM, 0);
		uint64_t cookie = 0;
		socklen_t size = sizeof(cookie);
		if (getsockopt(probe.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0)
			return Napi::BigInt::New(env, cookie);
		if (errno == ENOPROTOOPT)
			return env.Undefined();
		throw Failure{errno, "getsockopt(SO_NETNS_COOKIE)", ""};
	} catch (const Failure &failure) {
		throw make_error(env, failure);
	}
}

void export_netns(Napi::Env env, Napi::Object exports)
{
	exports.Set("netnsCookie", Napi::Function::New(env, netns_cookie));
}
