// clsact filters, for kernels whose devices have no links for TC programs.
#include "program.h"

#include <bpf/libbpf.h>

#include <cerrno>

namespace
{

bpf_tc_hook hook_of(const Napi::Value &ifindex, const Napi::Value &attach_point)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook);
	hook.ifindex = static_cast<int>(number_of(ifindex, "ifindex"));
	hook.attach_point = static_cast<bpf_tc_attach_point>(number_of(attach_point, "attachPoint"));
	return hook;
}

void check(Napi::Env env, int error, const char *syscall, const LibbpfLog &log)
{
	if (error)
		throw make_error(env, error, syscall, log.text());
}

// tcCreate(ifindex, attachPoint): makes the qdisc. EEXIST when it is there.
void tc_create(const Napi::CallbackInfo &info)
{
	bpf_tc_hook hook = hook_of(info[0], info[1]);
	LibbpfLog log;
	check(info.Env(), bpf_tc_hook_create(&hook), "bpf_tc_hook_create", log);
}

// tcAttach(program, ifindex, attachPoint, handle, priority, flags)
void tc_attach(const Napi::CallbackInfo &info)
{
	bpf_tc_hook hook = hook_of(info[1], info[2]);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
	options.prog_fd = BpfProgram::from(info[0])->open_fd(info.Env(), "tcAttach");
	options.handle = number_of(info[3], "handle");
	options.priority = number_of(info[4], "priority");
	options.flags = number_of(info[5], "flags");
	LibbpfLog log;
	check(info.Env(), bpf_tc_attach(&hook, &options), "bpf_tc_attach", log);
}

// tcDetach(ifindex, attachPoint, handle, priority)
void tc_detach(const Napi::CallbackInfo &info)
{
	bpf_tc_hook hook = hook_of(info[0], info[1]);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, options);
	options.handle = number_of(info[2], "handle");
	options.priority = number_of(info[3], "priority");
	LibbpfLog log;
	check(info.Env(), bpf_tc_detach(&hook, &options), "bpf_tc_detach", log);
}

} // namespace

void export_tc(Napi::Env env, Napi::Object exports)
{
	exports.Set("tcCreate", Napi::Function::New(env, tc_create));
	exports.Set("tcAttach", Napi::Function::New(env, tc_attach));
	exports.Set("tcDetach", Napi::Function::New(env, tc_detach));
}
