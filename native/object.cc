// Objects: opened, configured, loaded and verified off the main thread; what comes back are descriptors of their own.
#include "map.h"
#include "program.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace
{

struct Loaded {
	std::string name;
	std::string section;
	Fd fd;
};

// All of one load as plain C++ values: the worker thread must not touch JavaScript.
struct Request {
	std::string path;
	std::map<std::string, std::vector<uint8_t>> rodata;
	std::map<std::string, Fd> reuse;
	std::map<std::string, uint32_t> max_entries;
	// For sections whose names libbpf does not know: prefix, program type.
	std::vector<std::pair<std::string, uint32_t>> section_types;
};

struct CloseObject {
	void operator()(bpf_object *object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, CloseObject>;

bool ends_with(const std::string &text, const std::string &end)
{
	return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Writes the variables over the section's first contents. libbpf wants the whole section back, so it is patched.
void set_rodata(bpf_object *object, const Request &request)
{
	if (request.rodata.empty())
		return;
	bpf_map *section = nullptr, *map;
	bpf_object__for_each_map(map, object) if (bpf_map__is_internal(map) && ends_with(bpf_map__name(map), ".rodata")) section =
		map;
	const btf *types = bpf_object__btf(object);
	int32_t id = types ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
	if (!section || id < 0)
		throw Failure{
			ENOENT, "rodata", request.path + " has no read-only variable; asked for " + request.rodata.begin()->first};
	size_t size = 0;
	auto *contents = static_cast<uint8_t *>(const_cast<void *>(bpf_map__initial_value(section, &size)));
	const btf_type *layout = btf__type_by_id(types, static_cast<uint32_t>(id));
	for (const auto &[name, value] : request.rodata) {
		const btf_var_secinfo *found = nullptr;
		for (uint32_t i = 0; i < btf_vlen(layout); i++) {
			const btf_var_secinfo *variable = btf_var_secinfos(layout) + i;
			if (name == btf__name_by_offset(types, btf__type_by_id(types, variable->type)->name_off))
				found = variable;
		}
		if (!found)
			throw Failure{ENOENT, "rodata", request.path + " has no read-only variable " + name};
		if (found->size != value.size() || found->offset + found->size > size)
			throw Failure{EINVAL, "rodata",
				name + " has " + std::to_string(found->size) + " bytes, not " + std::to_string(value.size())};
		memcpy(contents + found->offset, value.data(), value.size());
	}
}

std::string describe(const MapShape &shape)
{
	return "type " + std::to_string(shape.type) + ", key " + std::to_string(shape.key_size) + ", value " +
	       std::to_string(shape.value_size) + ", entries " + std::to_string(shape.max_entries) + ", flags " +
	       std::to_string(shape.flags);
}

void set_maps(bpf_object *object, const Request &request)
{
	for (const auto &[name, entries] : request.max_entries) {
		bpf_map *map = bpf_object__find_map_by_name(object, name.c_str());
		int error = map ? bpf_map__set_max_entries(map, entries) : -ENOENT;
		if (error)
			throw Failure{-error, "max_entries", request.path + ": map " + name};
	}
	for (const auto &[name, fd] : request.reuse) {
		bpf_map *map = bpf_object__find_map_by_name(object, name.c_str());
		if (!map)
			continue; // not every object uses every map
		MapShape is = BpfMap::shape_of(fd.get());
		MapShape wanted = {static_cast<uint32_t>(bpf_map__type(map)), bpf_map__key_size(map), bpf_map__value_size(map),
			bpf_map__max_entries(map), bpf_map__map_flags(map)};
		if (memcmp(&is, &wanted, sizeof(is)) != 0)
			throw Failure{EINVAL, "reuse",
				"map " + name + " is (" + describe(is) + "), " + request.path + " wants (" + describe(wanted) +
					")"};
		int error = bpf_map__reuse_fd(map, fd.get());
		if (error)
			throw Failure{-error, "reuse", "map " + name};
	}
}

// Maps of maps ask of what is put in that it be like the map they were made with. Linux 5.15 to 6.1 count it as a difference when
// only one of the two came with types (timer_off in bpf_map_meta_equal), so they are made with one that has none.
std::vector<Fd> set_inner_maps(bpf_object *object, const Request &request)
{
	std::vector<Fd> made;
	bpf_map *map;
	bpf_object__for_each_map(map, object)
	{
		bpf_map *inner = bpf_map__inner_map(map);
		if (!inner || request.reuse.count(bpf_map__name(map)))
			continue;
		DECLARE_LIBBPF_OPTS(bpf_map_create_opts, options);
		options.map_flags = bpf_map__map_flags(inner);
		int fd = bpf_map_create(bpf_map__type(inner), "hw_inner", bpf_map__key_size(inner), bpf_map__value_size(inner),
			bpf_map__max_entries(inner), &options);
		if (fd < 0)
			throw Failure{-fd, "BPF_MAP_CREATE", std::string("inner map of ") + bpf_map__name(map)};
		made.emplace_back(fd);
		int error = bpf_map__set_inner_map_fd(map, fd);
		if (error)
			throw Failure{-error, "set_inner_map_fd", std::string("map ") + bpf_map__name(map)};
	}
	return made;
}

void set_program_types(bpf_object *object, const Request &request)
{
	bpf_program *program;
	bpf_object__for_each_program(program, object)
	{
		if (bpf_program__type(program) != BPF_PROG_TYPE_UNSPEC)
			continue;
		std::string section = bpf_program__section_name(program);
		for (const auto &[prefix, type] : request.section_types)
			if (section.compare(0, prefix.size(), prefix) == 0)
				bpf_program__set_type(program, static_cast<bpf_prog_type>(type));
	}
}

class Load : public Napi::AsyncWorker
{
public:
	Load(Napi::Env env, Request request) : AsyncWorker(env, "hawser.load"), deferred_(env), request_(std::move(request)) {}
	Napi::Promise promise() const { return deferred_.Promise(); }

	void Execute() override
	{
		LibbpfLog log;
		try {
			run();
		} catch (Failure &failure) {
			if (std::string said = log.text(); !said.empty())
				failure.detail += (failure.detail.empty() ? "" : "\n") + said;
			failure_ = std::make_unique<Failure>(std::move(failure));
			SetError(failure_->syscall);
		}
	}

	void OnOK() override
	{
		Napi::Env env = Env();
		Napi::HandleScope scope(env);
		auto programs = Napi::Array::New(env), maps = Napi::Array::New(env);
		for (auto &program : programs_)
			programs.Set(
				programs.Length(), BpfProgram::make(env, std::move(program.fd), program.name, program.section));
		for (auto &map : maps_) {
			auto entry = Napi::Object::New(env);
			entry.Set("name", map.name);
			entry.Set("map", BpfMap::make(env, std::move(map.fd)));
			maps.Set(maps.Length(), entry);
		}
		auto result = Napi::Object::New(env);
		result.Set("programs", programs);
		result.Set("maps", maps);
		deferred_.Resolve(result);
	}

	void OnError(const Napi::Error &error) override
	{
		Napi::HandleScope scope(Env());
		deferred_.Reject(failure_ ? make_error(Env(), *failure_).Value() : error.Value());
	}

private:
	void run()
	{
		Object object(bpf_object__open_file(request_.path.c_str(), nullptr));
		if (!object)
			throw Failure{errno, "bpf_object__open_file", request_.path};
		set_program_types(object.get(), request_);
		set_maps(object.get(), request_);
		set_rodata(object.get(), request_);
		// Open until the maps that were made like them are there.
		std::vector<Fd> inner = set_inner_maps(object.get(), request_);
		int error = bpf_object__load(object.get());
		if (error)
			throw Failure{-error, "bpf_object__load", request_.path};
		bpf_program *program;
		bpf_object__for_each_program(program, object.get()) if (bpf_program__autoload(program)) programs_.push_back(
			{bpf_program__name(program), bpf_program__section_name(program), Fd::copy_of(bpf_program__fd(program))});
		bpf_map *map;
		bpf_object__for_each_map(map, object.get()) if (!bpf_map__is_internal(map))
			maps_.push_back({bpf_map__name(map), "", Fd::copy_of(bpf_map__fd(map))});
	}

	Napi::Promise::Deferred deferred_;
	Request request_;
	std::vector<Loaded> programs_, maps_;
	std::unique_ptr<Failure> failure_;
};

// loadObject(path, { rodata, reuse, maxEntries, sectionTypes }): promise of { programs, maps: [{ name, map }] }
Napi::Value load_object(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Request request;
	request.path = text_of(info[0], "path");
	if (!info[1].IsObject())
		throw Napi::TypeError::New(env, "options must be an object");
	auto options = info[1].As<Napi::Object>();
	auto each = [&](const char *what, auto take) {
		if (!options.Get(what).IsObject())
			throw Napi::TypeError::New(env, std::string(what) + " must be an object");
		auto object = options.Get(what).As<Napi::Object>();
		auto names = object.GetPropertyNames();
		for (uint32_t i = 0; i < names.Length(); i++) {
			std::string name = names.Get(i).ToString();
			take(name, object.Get(name));
		}
	};
	each("rodata", [&](const std::string &name, const Napi::Value &value) {
		Bytes bytes = bytes_of(value, name.c_str());
		request.rodata[name].assign(bytes.data, bytes.data + bytes.size);
	});
	each("reuse", [&](const std::string &name, const Napi::Value &value) {
		request.reuse[name] = Handle<BpfMap>::from(value, BpfMap::tag, name.c_str())->duplicate(env, "reuse");
	});
	each("maxEntries", [&](const std::string &name, const Napi::Value &value) {
		request.max_entries[name] = number_of(value, name.c_str());
	});
	each("sectionTypes", [&](const std::string &name, const Napi::Value &value) {
		request.section_types.emplace_back(name, number_of(value, name.c_str()));
	});
	auto *load = new Load(env, std::move(request));
	load->Queue();
	return load->promise();
}

} // namespace

void export_objects(Napi::Env env, Napi::Object exports)
{
	exports.Set("loadObject", Napi::Function::New(env, load_object));
}
