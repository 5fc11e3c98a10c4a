// Ring buffers through the event loop: one callback with all records that there are when it wakes, and again a while after any were
// found, for programs need not wake their reader for each.
#include "map.h"
#include "poll.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>

namespace
{

struct FreeRing {
	void operator()(ring_buffer *ring) const { ring_buffer__free(ring); }
};

class RingReader : public Napi::ObjectWrap<RingReader>
{
public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "RingReader",
			{
				InstanceMethod<&RingReader::close>("close"),
			});
	}

	// new RingReader(map, limit, linger, (records: Uint8Array[]) => void): at most `limit` records a callback; `linger` in milliseconds.
	explicit RingReader(const Napi::CallbackInfo &info) : ObjectWrap(info)
	{
		Napi::Env env = info.Env();
		map_ = Handle<BpfMap>::from(info[0], BpfMap::tag, "map")->duplicate(env, "RingReader");
		limit_ = number_of(info[1], "limit");
		linger_ = number_of(info[2], "linger");
		callback_ = Napi::Persistent(function_of(info[3], "callback"));
		LibbpfLog log;
		ring_.reset(ring_buffer__new(map_.get(), take, this, nullptr));
		if (!ring_)
			throw make_error(env, errno, "ring_buffer__new", log.text());
		try {
			poll_ = std::make_unique<Poll>(env, ring_buffer__epoll_fd(ring_.get()), "hawser.ring", [this] { ready(); });
			timer_ = std::make_unique<Timer>(env, "hawser.ring", [this] { ready(); });
		} catch (const Failure &failure) {
			throw make_error(env, failure);
		}
		// Before us nobody listened, and who was woken in vain is silent now.
		timer_->start(linger_);
		Ref(); // open handles are not collected: their callback is what keeps them useful
	}

	~RingReader() override
	{
		timer_.reset();
		poll_.reset();
	}

private:
	// Copies: the record's memory goes back to the kernel when this returns.
	static int take(void *context, void *data, size_t size)
	{
		auto *self = static_cast<RingReader *>(context);
		auto *bytes = static_cast<uint8_t *>(data);
		self->records_.emplace_back(bytes, bytes + size);
		// A negative answer ends the round, so that a flood of records cannot keep the event loop.
		return self->records_.size() >= self->limit_ ? -EAGAIN : 0;
	}

	void ready()
	{
		Napi::Env env = poll_->env();
		ring_buffer__consume(ring_.get());
		if (records_.empty())
			return;
		timer_->start(records_.size() < limit_ ? linger_ : 0);
		KeepAlive<RingReader> keep(*this); // the callback may close us
		auto batch = std::exchange(records_, {});
		auto records = Napi::Array::New(env, batch.size());
		for (uint32_t i = 0; i < batch.size(); i++)
			records.Set(i, copy_out(env, batch[i].data(), batch[i].size()));
		poll_->call(callback_, {records});
	}

	void close(const Napi::CallbackInfo &)
	{
		if (!ring_)
			return;
		timer_->stop();
		poll_->stop();
		ring_.reset();
		map_.reset();
		Unref();
	}

	Fd map_;
	size_t limit_ = 0;
	uint64_t linger_ = 0;
	Napi::FunctionReference callback_;
	std::vector<std::vector<uint8_t>> records_;
	std::unique_ptr<ring_buffer, FreeRing> ring_;
	std::unique_ptr<Poll> poll_;
	std::unique_ptr<Timer> timer_;
};

} // namespace

void export_rings(Napi::Env env, Napi::Object exports)
{
	exports.Set("RingReader", RingReader::define(env));
}
