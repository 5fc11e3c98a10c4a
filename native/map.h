// An open BPF map.
#pragma once

#include "common.h"
#include "window.h"

#include <linux/bpf.h>

struct MapShape {
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
};

class BpfMap : public Handle<BpfMap>
{
public:
	static const napi_type_tag tag;
	static Napi::Function define(Napi::Env env);
	static Napi::Object make(Napi::Env env, Fd fd);

	explicit BpfMap(const Napi::CallbackInfo &info);

	// Reads the shape of any map. Throws Failure.
	static MapShape shape_of(int fd);

private:
	Napi::Value info(const Napi::CallbackInfo &info);
	Napi::Value get(const Napi::CallbackInfo &info);
	void set(const Napi::CallbackInfo &info);
	void set_inner(const Napi::CallbackInfo &info);
	Napi::Value set_inners(const Napi::CallbackInfo &info);
	void store(const Napi::CallbackInfo &info);
	Napi::Value remove(const Napi::CallbackInfo &info);
	Napi::Value lookup_batch(const Napi::CallbackInfo &info);
	Napi::Value update_batch(const Napi::CallbackInfo &info);
	Napi::Value delete_batch(const Napi::CallbackInfo &info);
	void pin(const Napi::CallbackInfo &info);
	void close(const Napi::CallbackInfo &info);

	const uint8_t *key(const Napi::Value &value) const;
	Bytes sized(const Napi::Value &value, const char *what, size_t size) const;
	uint32_t batch_count(const Napi::Value &keys, size_t size) const;

	bpf_map_info info_{};
	Window window_;
	size_t value_bytes_ = 0; // of one entry as user space sees it: all CPUs of a per-CPU map
};
