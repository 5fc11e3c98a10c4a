// Netlink sockets: datagrams out, datagrams in through the event loop. What they say is encoded in TypeScript.
#include "netns.h"
#include "poll.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

namespace
{

// So that a flood of notifications cannot keep the event loop.
constexpr int datagrams_per_wakeup = 64;

class NetlinkSocket : public Napi::ObjectWrap<NetlinkSocket>
{
public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "NetlinkSocket",
			{
				InstanceMethod<&NetlinkSocket::set_option>("setOption"),
				InstanceMethod<&NetlinkSocket::send>("send"),
				InstanceMethod<&NetlinkSocket::ref>("ref"),
				InstanceMethod<&NetlinkSocket::unref>("unref"),
				InstanceMethod<&NetlinkSocket::close>("close"),
			});
	}

	// new NetlinkSocket(netnsPath | undefined, protocol, (error: Error | undefined, datagrams: Uint8Array[]) => void)
	explicit NetlinkSocket(const Napi::CallbackInfo &info) : ObjectWrap(info)
	{
		Napi::Env env = info.Env();
		std::string path = info[0].IsUndefined() ? "" : text_of(info[0], "netns");
		int protocol = static_cast<int>(number_of(info[1], "protocol"));
		callback_ = Napi::Persistent(function_of(info[2], "callback"));
		try {
			socket_ = socket_in(path, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, protocol);
			sockaddr_nl address{};
			address.nl_family = AF_NETLINK;
			if (bind(socket_.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0)
				throw Failure{errno, "bind(AF_NETLINK)", ""};
			poll_ = std::make_unique<Poll>(env, socket_.get(), "hawser.netlink", [this] { ready(); });
		} catch (const Failure &failure) {
			throw make_error(env, failure);
		}
		Ref(); // open handles are not collected: their callback is what keeps them useful
	}

	~NetlinkSocket() override { poll_.reset(); }

private:
	int open_fd(Napi::Env env, const char *method) const
	{
		if (!socket_)
			throw make_error(env, EBADF, method, "the handle is closed");
		return socket_.get();
	}

	// setOption(level, name, value)
	void set_option(const Napi::CallbackInfo &info)
	{
		int fd = open_fd(info.Env(), "setOption");
		int value = static_cast<int>(number_of(info[2], "value"));
		if (setsockopt(fd, static_cast<int>(number_of(info[0], "level")), static_cast<int>(number_of(info[1], "name")),
			    &value, sizeof(value)) != 0)
			throw make_error(info.Env(), errno, "setsockopt");
	}

	void send(const Napi::CallbackInfo &info)
	{
		int fd = open_fd(info.Env(), "send");
		Bytes message = bytes_of(info[0], "message");
		sockaddr_nl kernel{};
		kernel.nl_family = AF_NETLINK;
		if (sendto(fd, message.data, message.size, 0, reinterpret_cast<sockaddr *>(&kernel), sizeof(kernel)) < 0)
			throw make_error(info.Env(), errno, "sendto(AF_NETLINK)");
	}

	void ready()
	{
		Napi::Env env = poll_->env();
		KeepAlive<NetlinkSocket> keep(*this); // the callback may close us
		auto datagrams = Napi::Array::New(env);
		napi_value error = env.Undefined();
		for (int i = 0; i < datagrams_per_wakeup; i++) {
			ssize_t size = recv(socket_.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
			std::vector<uint8_t> buffer(size > 0 ? static_cast<size_t>(size) : 0);
			sockaddr_nl from{};
			socklen_t from_size = sizeof(from);
			if (size >= 0)
				size = recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr *>(&from),
					&from_size);
			if (size < 0) {
				if (errno != EAGAIN && errno != EINTR)
					error = make_error(env, errno, "recvfrom(AF_NETLINK)").Value();
				break;
			}
			if (from.nl_pid == 0) // any process may send to us; only the kernel is believed
				datagrams.Set(datagrams.Length(), copy_out(env, buffer.data(), static_cast<size_t>(size)));
		}
		poll_->call(callback_, {error, datagrams});
	}

	void ref(const Napi::CallbackInfo &info)
	{
		open_fd(info.Env(), "ref");
		poll_->ref(true);
	}

	void unref(const Napi::CallbackInfo &info)
	{
		open_fd(info.Env(), "unref");
		poll_->ref(false);
	}

	void close(const Napi::CallbackInfo &)
	{
		if (!socket_)
			return;
		poll_->stop();
		socket_.reset();
		Unref();
	}

	Napi::FunctionReference callback_;
	Fd socket_;
	std::unique_ptr<Poll> poll_;
};

} // namespace

void export_netlink(Napi::Env env, Napi::Object exports)
{
	exports.Set("NetlinkSocket", NetlinkSocket::define(env));
}
