// Maps: single and batch operations, bytes in and bytes out.
#include "map.h"
#include "entries.h"
#include "inners.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

const napi_type_tag BpfMap::tag = {0x6d61705f68616e64, 0x6c655f6e61706931};

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static bpf_map_info read_info(int fd)
{
	bpf_map_info info{};
	uint32_t size = sizeof(info);
	int error = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (error)
		throw Failure{-error, "BPF_OBJ_GET_INFO_BY_FD", "not a map"};
	return info;
}

MapShape BpfMap::shape_of(int fd)
{
	bpf_map_info info = read_info(fd);
	return {info.type, info.key_size, info.value_size, info.max_entries, info.map_flags};
}

BpfMap::BpfMap(const Napi::CallbackInfo &info) : Handle(info, tag)
{
	try {
		info_ = read_info(open_fd(info.Env(), "map"));
	} catch (const Failure &failure) {
		throw make_error(info.Env(), failure);
	}
	value_bytes_ = info_.value_size;
	if (is_per_cpu(info_.type))
		value_bytes_ = (info_.value_size + 7) / 8 * 8 * static_cast<size_t>(libbpf_num_possible_cpus());
}

Napi::Object BpfMap::make(Napi::Env env, Fd fd)
{
	return env.GetInstanceData<Constructors>()->map.New({Napi::External<Fd>::New(env, &fd)});
}

Napi::Function BpfMap::define(Napi::Env env)
{
	return DefineClass(env, "BpfMap",
		{
			InstanceMethod<&BpfMap::info>("info"),
			InstanceMethod<&BpfMap::get>("get"),
			InstanceMethod<&BpfMap::set>("set"),
			InstanceMethod<&BpfMap::set_inner>("setInner"),
			InstanceMethod<&BpfMap::set_inners>("setInners"),
			InstanceMethod<&BpfMap::store>("store"),
			InstanceMethod<&BpfMap::remove>("delete"),
			InstanceMethod<&BpfMap::lookup_batch>("lookupBatch"),
			InstanceMethod<&BpfMap::update_batch>("updateBatch"),
			InstanceMethod<&BpfMap::delete_batch>("deleteBatch"),
			InstanceMethod<&BpfMap::pin>("pin"),
			InstanceMethod<&BpfMap::close>("close"),
		});
}

Bytes BpfMap::sized(const Napi::Value &value, const char *what, size_t size) const
{
	Bytes bytes = bytes_of(value, what);
	if (bytes.size != size)
		throw make_error(value.Env(), EINVAL, "map",
			std::string(info_.name) + ": " + what + " has " + std::to_string(bytes.size) + " bytes, not " +
				std::to_string(size));
	return bytes;
}

const uint8_t *BpfMap::key(const Napi::Value &value) const
{
	return sized(value, "key", info_.key_size).data;
}

uint32_t BpfMap::batch_count(const Napi::Value &keys, size_t size) const
{
	if (info_.key_size == 0 || size % info_.key_size != 0)
		throw make_error(keys.Env(), EINVAL, "map", std::string(info_.name) + ": keys are no multiple of the key's size");
	return static_cast<uint32_t>(size / info_.key_size);
}

Napi::Value BpfMap::info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	open_fd(env, "info");
	auto result = Napi::Object::New(env);
	result.Set("id", info_.id);
	result.Set("name", std::string(info_.name));
	result.Set("type", info_.type);
	result.Set("keySize", info_.key_size);
	result.Set("valueSize", info_.value_size);
	result.Set("valueBytes", static_cast<double>(value_bytes_));
	result.Set("maxEntries", info_.max_entries);
	result.Set("flags", info_.map_flags);
	return result;
}

Napi::Value BpfMap::get(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "get");
	auto value = Napi::Uint8Array::New(env, value_bytes_);
	int error = bpf_map_lookup_elem(fd, key(info[0]), value.Data());
	if (error == -ENOENT)
		return env.Undefined();
	if (error)
		throw make_error(env, error, "BPF_MAP_LOOKUP_ELEM", info_.name);
	return value;
}

void BpfMap::set(const Napi::CallbackInfo &info)
{
	int fd = open_fd(info.Env(), "set");
	const uint8_t *at = key(info[0]);
	Bytes value = sized(info[1], "value", value_bytes_);
	int error = bpf_map_update_elem(fd, at, value.data, number_of(info[2], "flags"));
	if (error)
		throw make_error(info.Env(), error, "BPF_MAP_UPDATE_ELEM", info_.name);
}

// setInner(key, map): the entry of a map of maps; reading it back gives the map's id.
void BpfMap::set_inner(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "setInner");
	const uint8_t *at = key(info[0]);
	int inner = from(info[1], tag, "inner map")->open_fd(env, "setInner");
	int error = bpf_map_update_elem(fd, at, &inner, BPF_ANY);
	if (error)
		throw make_error(env, error, "BPF_MAP_UPDATE_ELEM", info_.name);
}

Napi::Value BpfMap::remove(const Napi::CallbackInfo &info)
{
	int fd = open_fd(info.Env(), "delete");
	int error = bpf_map_delete_elem(fd, key(info[0]));
	if (error && error != -ENOENT)
		throw make_error(info.Env(), error, "BPF_MAP_DELETE_ELEM", info_.name);
	return Napi::Boolean::New(info.Env(), error == 0);
}

// lookupBatch(cursor | undefined, count): { keys, values, cursor | undefined at the end }. ENOSPC asks for a larger count.
Napi::Value BpfMap::lookup_batch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "lookupBatch");
	// The cursor is a u32 for hashes and a key for the others.
	size_t cursor_size = std::max<size_t>(info_.key_size, sizeof(uint32_t));
	const uint8_t *from = info[0].IsUndefined() ? nullptr : sized(info[0], "cursor", cursor_size).data;
	uint32_t count = number_of(info[1], "count");
	std::vector<uint8_t> keys(size_t{count} * info_.key_size), values(size_t{count} * value_bytes_);
	auto cursor = Napi::Uint8Array::New(env, cursor_size);
	int error =
		bpf_map_lookup_batch(fd, const_cast<uint8_t *>(from), cursor.Data(), keys.data(), values.data(), &count, nullptr);
	if (error && error != -ENOENT)
		throw make_error(env, error, "BPF_MAP_LOOKUP_BATCH", info_.name);
	auto result = Napi::Object::New(env);
	result.Set("keys", copy_out(env, keys.data(), size_t{count} * info_.key_size));
	result.Set("values", copy_out(env, values.data(), size_t{count} * value_bytes_));
	result.Set("cursor", error ? env.Undefined() : Napi::Value(cursor));
	return result;
}

// updateBatch(keys, values, flags): how many were written. The map is left with those when the kernel refuses one.
Napi::Value BpfMap::update_batch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "updateBatch");
	Bytes keys = bytes_of(info[0], "keys");
	uint32_t count = batch_count(info[0], keys.size);
	Bytes values = sized(info[1], "values", count * value_bytes_);
	int error = update_entries(fd, keys, info_.key_size, values, value_bytes_, &count, number_of(info[2], "flags"));
	if (error)
		throw make_error(env, error, "BPF_MAP_UPDATE_BATCH",
			std::string(info_.name) + " after " + std::to_string(count) + " entries");
	return Napi::Number::New(env, count);
}

// setInners(keys, maps): as setInner, on another thread, as a promise. A kernel that has batches waits once for all programs that may still read what was there,
// not for each (10 ms); on a busy machine that is half a second.
Napi::Value BpfMap::set_inners(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "setInners");
	Bytes keys = bytes_of(info[0], "keys");
	uint32_t count = batch_count(info[0], keys.size);
	auto maps = info[1].As<Napi::Array>();
	if (maps.Length() != count)
		throw make_error(env, EINVAL, "map", std::string(info_.name) + ": there is not one map for each key");
	try {
		std::vector<Fd> inner;
		for (uint32_t i = 0; i < count; i++)
			inner.push_back(Fd::copy_of(from(maps.Get(i), tag, "inner map")->open_fd(env, "setInners")));
		return put_inners(env, info_.name, Fd::copy_of(fd), keys, info_.key_size, std::move(inner));
	} catch (const Failure &failure) {
		throw make_error(env, failure);
	}
}

// store(first, values): words of 8 bytes of an array made with BPF_F_MMAPABLE, whose values are made of such, one after another, each by one store: a fiftieth of what batches take.
// Of a Uint16Array each element is a word.
void BpfMap::store(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "store");
	size_t first = number_of(info[0], "first");
	const uint16_t *numbers = nullptr;
	Bytes values = {};
	if (info[1].IsTypedArray() && info[1].As<Napi::TypedArray>().TypedArrayType() == napi_uint16_array)
		numbers = info[1].As<Napi::Uint16Array>().Data();
	else
		values = bytes_of(info[1], "values");
	size_t count = numbers ? info[1].As<Napi::Uint16Array>().ElementLength() : values.size / sizeof(uint64_t);
	size_t words = info_.value_size / sizeof(uint64_t) * info_.max_entries;
	if (info_.value_size % sizeof(uint64_t) != 0 || values.size % sizeof(uint64_t) != 0 || first + count > words)
		throw make_error(env, EINVAL, "map", std::string(info_.name) + ": these are no words of its values");
	if (count == 0)
		return;
	uint8_t *to = window_.of(fd, info_, first * sizeof(uint64_t), count * sizeof(uint64_t));
	if (!to)
		throw make_error(env, errno, "mmap", info_.name);
	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		if (numbers)
			value = numbers[i];
		else
			memcpy(&value, values.data + i * sizeof(value), sizeof(value));
		__atomic_store_n(reinterpret_cast<uint64_t *>(to) + i, value, __ATOMIC_RELAXED);
	}
}

// deleteBatch(keys): how many were deleted before the first that was not there.
Napi::Value BpfMap::delete_batch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "deleteBatch");
	Bytes keys = bytes_of(info[0], "keys");
	uint32_t count = batch_count(info[0], keys.size);
	int error = count == 0 ? 0 : bpf_map_delete_batch(fd, keys.data, &count, nullptr);
	if (error && error != -ENOENT)
		throw make_error(env, error, "BPF_MAP_DELETE_BATCH", info_.name);
	return Napi::Number::New(env, count);
}

// What is mapped keeps the map in the kernel.
void BpfMap::close(const Napi::CallbackInfo &info)
{
	window_.close();
	Handle::close(info);
}

void BpfMap::pin(const Napi::CallbackInfo &info)
{
	int fd = open_fd(info.Env(), "pin");
	std::string path = text_of(info[0], "path");
	int error = bpf_obj_pin(fd, path.c_str());
	if (error)
		throw make_error(info.Env(), error, "BPF_OBJ_PIN", path);
}

static Napi::Value open_map(const Napi::CallbackInfo &info)
{
	std::string path = text_of(info[0], "path");
	int fd = bpf_obj_get(path.c_str());
	if (fd < 0)
		throw make_error(info.Env(), fd, "BPF_OBJ_GET", path);
	return BpfMap::make(info.Env(), Fd(fd));
}

// openMapById(id)
static Napi::Value open_map_by_id(const Napi::CallbackInfo &info)
{
	uint32_t id = number_of(info[0], "id");
	int fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		throw make_error(info.Env(), fd, "BPF_MAP_GET_FD_BY_ID", std::to_string(id));
	return BpfMap::make(info.Env(), Fd(fd));
}

// createMap(type, name, keySize, valueSize, maxEntries, flags, inner | undefined): inner is what a map of maps is to hold
static Napi::Value create_map(const Napi::CallbackInfo &info)
{
	std::string name = text_of(info[1], "name");
	DECLARE_LIBBPF_OPTS(bpf_map_create_opts, options);
	options.map_flags = number_of(info[5], "flags");
	if (!info[6].IsUndefined())
		options.inner_map_fd = static_cast<uint32_t>(
			Handle<BpfMap>::from(info[6], BpfMap::tag, "inner map")->open_fd(info.Env(), "createMap"));
	int fd = bpf_map_create(static_cast<bpf_map_type>(number_of(info[0], "type")), name.c_str(), number_of(info[2], "keySize"),
		number_of(info[3], "valueSize"), number_of(info[4], "maxEntries"), &options);
	if (fd < 0)
		throw make_error(info.Env(), fd, "BPF_MAP_CREATE", name);
	return BpfMap::make(info.Env(), Fd(fd));
}

void export_maps(Napi::Env env, Napi::Object exports)
{
	Napi::Function constructor = BpfMap::define(env);
	env.GetInstanceData<Constructors>()->map = Napi::Persistent(constructor);
	exports.Set("BpfMap", constructor);
	exports.Set("openMap", Napi::Function::New(env, open_map));
	exports.Set("openMapById", Napi::Function::New(env, open_map_by_id));
	exports.Set("createMap", Napi::Function::New(env, create_map));
}
