// uv_poll, owned.
#include "poll.h"

#include <utility>

namespace
{

// From libuv, through which no exception may fly.
void call_from_loop(napi_env env, std::function<void()> callback) // a copy: it may stop who owns it
{
	Napi::HandleScope scope(env);
	try {
		if (callback)
			callback();
	} catch (const Napi::Error &error) {
		napi_fatal_exception(env, error.Value());
	}
}

} // namespace

Poll::Poll(Napi::Env env, int fd, const char *name, std::function<void()> ready)
	: env_(env), context_(env, name), state_(new State{{}, env, std::move(ready)})
{
	uv_loop_s *loop = nullptr;
	napi_get_uv_event_loop(env, &loop);
	int error = uv_poll_init(loop, &state_->handle, fd);
	if (error) {
		delete std::exchange(state_, nullptr);
		throw Failure{-error, "uv_poll_init", name};
	}
	state_->handle.data = state_;
	error = uv_poll_start(&state_->handle, UV_READABLE, [](uv_poll_t *handle, int, int) {
		auto *state = static_cast<State *>(handle->data);
		call_from_loop(state->env, state->ready);
	});
	if (error) {
		stop();
		throw Failure{-error, "uv_poll_start", name};
	}
}

void Poll::stop()
{
	State *state = std::exchange(state_, nullptr);
	if (!state)
		return;
	uv_poll_stop(&state->handle);
	state->ready = nullptr;
	uv_close(reinterpret_cast<uv_handle_t *>(&state->handle),
		[](uv_handle_t *handle) { delete static_cast<State *>(handle->data); });
}

void Poll::ref(bool keep_alive)
{
	if (!state_)
		return;
	auto *handle = reinterpret_cast<uv_handle_t *>(&state_->handle);
	if (keep_alive)
		uv_ref(handle);
	else
		uv_unref(handle);
}

void Poll::call(const Napi::FunctionReference &callback, const std::vector<napi_value> &arguments)
{
	callback.MakeCallback(env_.Global(), arguments, context_);
}

Timer::Timer(Napi::Env env, const char *name, std::function<void()> due) : state_(new State{{}, env, std::move(due)})
{
	uv_loop_s *loop = nullptr;
	napi_get_uv_event_loop(env, &loop);
	int error = uv_timer_init(loop, &state_->handle);
	if (error) {
		delete std::exchange(state_, nullptr);
		throw Failure{-error, "uv_timer_init", name};
	}
	state_->handle.data = state_;
	uv_unref(reinterpret_cast<uv_handle_t *>(&state_->handle));
}

void Timer::start(uint64_t milliseconds)
{
	if (!state_)
		return;
	uv_update_time(state_->handle.loop);
	uv_timer_start(&state_->handle, [](uv_timer_t *handle) {
		auto *state = static_cast<State *>(handle->data);
		call_from_loop(state->env, state->due);
	}, milliseconds, 0);
}

void Timer::stop()
{
	State *state = std::exchange(state_, nullptr);
	if (!state)
		return;
	uv_timer_stop(&state->handle);
	state->due = nullptr;
	uv_close(reinterpret_cast<uv_handle_t *>(&state->handle),
		[](uv_handle_t *handle) { delete static_cast<State *>(handle->data); });
}
