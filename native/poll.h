// A descriptor watched by Node's event loop: one call of `ready`, in a handle scope, each time it can be read.
#pragma once

#include "common.h"

#include <uv.h>

#include <functional>

class Poll
{
public:
	// Starts watching; the descriptor must stay open until stop(). Throws Failure.
	Poll(Napi::Env env, int fd, const char *name, std::function<void()> ready);
	~Poll() { stop(); }
	Poll(const Poll &) = delete;
	Poll &operator=(const Poll &) = delete;

	void stop();
	void ref(bool keep_alive);
	// Calls JavaScript from `ready`; what it throws ends as an uncaught exception.
	void call(const Napi::FunctionReference &callback, const std::vector<napi_value> &arguments);
	Napi::Env env() const { return env_; }

private:
	// libuv needs its handle after we are gone, until its close callback.
	struct State {
		uv_poll_t handle;
		napi_env env;
		std::function<void()> ready;
	};
	Napi::Env env_;
	Napi::AsyncContext context_;
	State *state_;
};

// uv_timer, owned: one call of `due`, in a handle scope, so many milliseconds after start(). Keeps no process alive.
class Timer
{
public:
	// Throws Failure.
	Timer(Napi::Env env, const char *name, std::function<void()> due);
	~Timer() { stop(); }
	Timer(const Timer &) = delete;
	Timer &operator=(const Timer &) = delete;

	// From now on, however long the event loop's turn has lasted already.
	void start(uint64_t milliseconds);
	void stop();

private:
	struct State {
		uv_timer_t handle;
		napi_env env;
		std::function<void()> due;
	};
	State *state_;
};

// Holds a JavaScript object against collection while it lives.
template <class T> class KeepAlive
{
public:
	explicit KeepAlive(T &object) : object_(object) { object_.Ref(); }
	~KeepAlive() { object_.Unref(); }
	KeepAlive(const KeepAlive &) = delete;
	KeepAlive &operator=(const KeepAlive &) = delete;

private:
	T &object_;
};
