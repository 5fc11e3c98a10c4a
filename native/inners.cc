// Maps that are put in a map of maps, on a thread that may wait for the kernel.
#include "inners.h"
#include "entries.h"

#include <linux/bpf.h>

namespace
{

class SetInners : public Napi::AsyncWorker
{
public:
	SetInners(Napi::Env env, std::string name, Fd outer, const Bytes &keys, size_t key_size, std::vector<Fd> inner)
		: AsyncWorker(env, "hawser.setInners"), deferred_(env), name_(std::move(name)), outer_(std::move(outer)),
		  keys_(keys.data, keys.data + keys.size), key_size_(key_size), inner_(std::move(inner))
	{
	}
	Napi::Promise promise() const { return deferred_.Promise(); }

	void Execute() override
	{
		std::vector<int> fds;
		for (const Fd &fd : inner_)
			fds.push_back(fd.get());
		uint32_t count = fds.size();
		Bytes keys = {keys_.data(), keys_.size()}, values = {reinterpret_cast<uint8_t *>(fds.data()), fds.size() * sizeof(int)};
		error_ = update_entries(outer_.get(), keys, key_size_, values, sizeof(int), &count, BPF_ANY);
		if (error_)
			SetError("BPF_MAP_UPDATE_BATCH");
	}

	void OnOK() override
	{
		Napi::HandleScope scope(Env());
		deferred_.Resolve(Env().Undefined());
	}

	void OnError(const Napi::Error &) override
	{
		Napi::HandleScope scope(Env());
		deferred_.Reject(make_error(Env(), error_, "BPF_MAP_UPDATE_BATCH", name_).Value());
	}

private:
	Napi::Promise::Deferred deferred_;
	std::string name_;
	Fd outer_;
	std::vector<uint8_t> keys_;
	size_t key_size_;
	std::vector<Fd> inner_;
	int error_ = 0;
};

} // namespace

Napi::Promise put_inners(Napi::Env env, std::string name, Fd outer, const Bytes &keys, size_t key_size, std::vector<Fd> inner)
{
	auto *worker = new SetInners(env, std::move(name), std::move(outer), keys, key_size, std::move(inner));
	Napi::Promise promise = worker->promise();
	worker->Queue();
	return promise;
}
