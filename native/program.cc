// Programs: what they are, and one run on bytes that never were a packet.
#include "program.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

const napi_type_tag BpfProgram::tag = {0x70726f675f68616e, 0x646c655f6e617069};

BpfProgram::BpfProgram(const Napi::CallbackInfo &info) : Handle(info, tag)
{
	name_ = text_of(info[1], "name");
	section_ = text_of(info[2], "section");
}

Napi::Object BpfProgram::make(Napi::Env env, Fd fd, const std::string &name, const std::string &section)
{
	return env.GetInstanceData<Constructors>()->program.New(
		{Napi::External<Fd>::New(env, &fd), Napi::String::New(env, name), Napi::String::New(env, section)});
}

Napi::Function BpfProgram::define(Napi::Env env)
{
	return DefineClass(env, "BpfProgram",
		{
			InstanceMethod<&BpfProgram::info>("info"),
			InstanceMethod<&BpfProgram::test_run>("testRun"),
			InstanceMethod("close", &BpfProgram::close),
		});
}

Napi::Value BpfProgram::info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	bpf_prog_info kernel{};
	uint32_t size = sizeof(kernel);
	int error = bpf_obj_get_info_by_fd(open_fd(env, "info"), &kernel, &size);
	if (error)
		throw make_error(env, error, "BPF_OBJ_GET_INFO_BY_FD", name_);
	auto result = Napi::Object::New(env);
	result.Set("id", kernel.id);
	result.Set("type", kernel.type);
	result.Set("name", name_);
	result.Set("section", section_);
	return result;
}

// testRun(data, context | undefined, repeat, dataOutSize, contextOutSize, flags): { verdict, data, context, duration }
Napi::Value BpfProgram::test_run(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	int fd = open_fd(env, "testRun");
	Bytes data = bytes_of(info[0], "data");
	Bytes context = info[1].IsUndefined() ? Bytes{nullptr, 0} : bytes_of(info[1], "context");
	std::vector<uint8_t> data_out(number_of(info[3], "dataOutSize")), context_out(number_of(info[4], "contextOutSize"));
	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, run);
	run.data_in = data.data;
	run.data_size_in = static_cast<uint32_t>(data.size);
	run.data_out = data_out.empty() ? nullptr : data_out.data();
	run.data_size_out = static_cast<uint32_t>(data_out.size());
	run.ctx_in = context.data;
	run.ctx_size_in = static_cast<uint32_t>(context.size);
	run.ctx_out = context_out.empty() ? nullptr : context_out.data();
	run.ctx_size_out = static_cast<uint32_t>(context_out.size());
	run.repeat = static_cast<int>(number_of(info[2], "repeat"));
	run.flags = number_of(info[5], "flags");
	int error = bpf_prog_test_run_opts(fd, &run);
	if (error)
		throw make_error(env, error, "BPF_PROG_TEST_RUN", name_);
	auto result = Napi::Object::New(env);
	result.Set("verdict", run.retval);
	// The kernel tells the frame's size even where there was no room for it.
	result.Set("data", copy_out(env, data_out.data(), std::min<size_t>(run.data_size_out, data_out.size())));
	result.Set("context", copy_out(env, context_out.data(), run.ctx_size_out));
	result.Set("duration", run.duration);
	return result;
}

// loadInstructions(type, name, license, instructions): a program from its raw instructions, for asking what the kernel can.
static Napi::Value load_instructions(const Napi::CallbackInfo &info)
{
	uint32_t type = number_of(info[0], "type");
	std::string name = text_of(info[1], "name"), license = text_of(info[2], "license");
	Bytes code = bytes_of(info[3], "instructions");
	if (code.size % sizeof(bpf_insn) != 0)
		throw Napi::TypeError::New(info.Env(), "instructions must have a multiple of 8 bytes");
	std::vector<bpf_insn> instructions(code.size / sizeof(bpf_insn));
	memcpy(instructions.data(), code.data, code.size);
	int fd = bpf_prog_load(
		static_cast<bpf_prog_type>(type), name.c_str(), license.c_str(), instructions.data(), instructions.size(), nullptr);
	if (fd < 0)
		throw make_error(info.Env(), fd, "BPF_PROG_LOAD", name);
	return BpfProgram::make(info.Env(), Fd(fd), name, "");
}

void export_programs(Napi::Env env, Napi::Object exports)
{
	Napi::Function constructor = BpfProgram::define(env);
	env.GetInstanceData<Constructors>()->program = Napi::Persistent(constructor);
	exports.Set("BpfProgram", constructor);
	exports.Set("loadInstructions", Napi::Function::New(env, load_instructions));
}
