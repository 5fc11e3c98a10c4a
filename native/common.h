// What every handle needs: an owned descriptor, bytes in and out, and errno as an Error.
#pragma once

#include <napi.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

// An owned file descriptor.
class Fd
{
public:
	Fd() = default;
	explicit Fd(int fd) : fd_(fd) {}
	Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	Fd &operator=(Fd &&other) noexcept
	{
		std::swap(fd_, other.fd_);
		return *this;
	}
	Fd(const Fd &) = delete;
	Fd &operator=(const Fd &) = delete;
	~Fd() { reset(); }

	int get() const { return fd_; }
	explicit operator bool() const { return fd_ >= 0; }
	void reset();
	// Another descriptor of the same thing. Throws Failure.
	static Fd copy_of(int fd);

private:
	int fd_ = -1;
};

// A refused call, thrown where no JavaScript may be touched (worker threads) or turned into an Error by `fail`.
struct Failure {
	int error; // positive errno
	std::string syscall;
	std::string detail;
};

// The one place where -errno becomes an Error with errno, syscall and detail. The sign of `error` does not matter.
Napi::Error make_error(Napi::Env env, int error, const std::string &syscall, const std::string &detail = "");
Napi::Error make_error(Napi::Env env, const Failure &failure);

// Gathers what libbpf prints on this thread while it lives.
class LibbpfLog
{
public:
	LibbpfLog();
	~LibbpfLog();
	LibbpfLog(const LibbpfLog &) = delete;
	LibbpfLog &operator=(const LibbpfLog &) = delete;
	std::string text() const;

	static void install();

private:
	std::string text_;
	std::string *outer_;
};

// Arguments, checked: a TypeError names the one that is wrong.
struct Bytes {
	const uint8_t *data;
	size_t size;
};
Bytes bytes_of(const Napi::Value &value, const char *what);
uint32_t number_of(const Napi::Value &value, const char *what);
std::string text_of(const Napi::Value &value, const char *what);
Napi::Function function_of(const Napi::Value &value, const char *what);
Napi::Value copy_out(Napi::Env env, const void *data, size_t size);

// Constructors by class, so that C++ can make the objects that it hands out.
struct Constructors {
	Napi::FunctionReference map;
	Napi::FunctionReference program;
	Napi::FunctionReference link;
};

// A JavaScript object that owns one descriptor. Derived classes take (External<Fd>, …) from C++ only.
template <class T> class Handle : public Napi::ObjectWrap<T>
{
public:
	Handle(const Napi::CallbackInfo &info, const napi_type_tag &tag) : Napi::ObjectWrap<T>(info)
	{
		if (info.Length() < 1 || !info[0].IsExternal())
			throw Napi::TypeError::New(info.Env(), "this class has no public constructor");
		fd_ = std::move(*info[0].As<Napi::External<Fd>>().Data());
		info.This().template As<Napi::Object>().TypeTag(&tag);
	}

	// The live descriptor, or an EBADF error that names the method.
	int open_fd(Napi::Env env, const char *method) const
	{
		if (!fd_)
			throw make_error(env, EBADF, method, "the handle is closed");
		return fd_.get();
	}

	Fd duplicate(Napi::Env env, const char *method) const
	{
		open_fd(env, method);
		try {
			return Fd::copy_of(fd_.get());
		} catch (const Failure &failure) {
			throw make_error(env, failure);
		}
	}

	void close(const Napi::CallbackInfo &) { fd_.reset(); }

	static T *from(const Napi::Value &value, const napi_type_tag &tag, const char *what)
	{
		if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag))
			throw Napi::TypeError::New(value.Env(), std::string(what) + " is not a handle of that kind");
		return Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
	}

private:
	Fd fd_;
};

// Each file adds its exports.
void export_maps(Napi::Env env, Napi::Object exports);
void export_programs(Napi::Env env, Napi::Object exports);
void export_objects(Napi::Env env, Napi::Object exports);
void export_links(Napi::Env env, Napi::Object exports);
void export_tc(Napi::Env env, Napi::Object exports);
void export_rings(Napi::Env env, Napi::Object exports);
void export_btf(Napi::Env env, Napi::Object exports);
void export_netns(Napi::Env env, Napi::Object exports);
void export_netlink(Napi::Env env, Napi::Object exports);
void export_host(Napi::Env env, Napi::Object exports);
void export_table(Napi::Env env, Napi::Object exports);
