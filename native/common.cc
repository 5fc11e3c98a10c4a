// Descriptors, errors, libbpf's words and argument checks.
#include "common.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

void Fd::reset()
{
	if (fd_ >= 0)
		::close(std::exchange(fd_, -1));
}

Fd Fd::copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		throw Failure{errno, "fcntl(F_DUPFD_CLOEXEC)", ""};
	return Fd(copy);
}

Napi::Error make_error(Napi::Env env, int error, const std::string &syscall, const std::string &detail)
{
	int positive = std::abs(error);
	Napi::Error made = Napi::Error::New(env, syscall + ": " + strerror(positive) + (detail.empty() ? "" : ": " + detail));
	made.Set("errno", Napi::Number::New(env, positive));
	made.Set("syscall", Napi::String::New(env, syscall));
	made.Set("detail", Napi::String::New(env, detail));
	return made;
}

Napi::Error make_error(Napi::Env env, const Failure &failure)
{
	return make_error(env, failure.error, failure.syscall, failure.detail);
}

// libbpf has one print function for the process; a thread that wants the words points this at its own buffer.
static thread_local std::string *listener = nullptr;

static int print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (!listener || level == LIBBPF_DEBUG)
		return 0;
	char *line = nullptr;
	int length = vasprintf(&line, format, arguments);
	if (length > 0)
		listener->append(line, static_cast<size_t>(length));
	if (length >= 0)
		free(line);
	return 0;
}

void LibbpfLog::install()
{
	libbpf_set_print(print);
}

LibbpfLog::LibbpfLog() : outer_(listener)
{
	listener = &text_;
}

LibbpfLog::~LibbpfLog()
{
	listener = outer_;
}

std::string LibbpfLog::text() const
{
	size_t end = text_.find_last_not_of(" \n");
	return end == std::string::npos ? "" : text_.substr(0, end + 1);
}

Bytes bytes_of(const Napi::Value &value, const char *what)
{
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
		throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a Uint8Array");
	auto array = value.As<Napi::Uint8Array>();
	return {array.Data(), array.ByteLength()};
}

uint32_t number_of(const Napi::Value &value, const char *what)
{
	double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
	if (!(number >= 0 && number <= 4294967295.0) || std::floor(number) != number)
		throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a whole number below 2^32");
	return static_cast<uint32_t>(number);
}

std::string text_of(const Napi::Value &value, const char *what)
{
	if (!value.IsString())
		throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a string");
	std::string text = value.As<Napi::String>().Utf8Value();
	if (text.find('\0') != std::string::npos)
		throw Napi::TypeError::New(value.Env(), std::string(what) + " must not contain NUL");
	return text;
}

Napi::Function function_of(const Napi::Value &value, const char *what)
{
	if (!value.IsFunction())
		throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a function");
	return value.As<Napi::Function>();
}

Napi::Value copy_out(Napi::Env env, const void *data, size_t size)
{
	auto array = Napi::Uint8Array::New(env, size);
	if (size > 0)
		memcpy(array.Data(), data, size);
	return array;
}
