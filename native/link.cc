// Links: attachments that live as long as a descriptor or a pin.
#include "program.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace
{

// The kernel's link_create arguments as of Linux 6.6: libbpf learns of relative_fd and the revision only in 1.3.
struct LinkCreate {
	uint32_t program;
	uint32_t target; // descriptor or ifindex
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative;
	uint32_t pad;
	uint64_t revision;
};

class BpfLink : public Handle<BpfLink>
{
public:
	static const napi_type_tag tag;

	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "BpfLink",
			{
				InstanceMethod<&BpfLink::info>("info"),
				InstanceMethod<&BpfLink::update>("update"),
				InstanceMethod<&BpfLink::pin>("pin"),
				InstanceMethod<&BpfLink::detach>("detach"),
				InstanceMethod("close", &BpfLink::close),
			});
	}

	static Napi::Object make(Napi::Env env, Fd fd)
	{
		return env.GetInstanceData<Constructors>()->link.New({Napi::External<Fd>::New(env, &fd)});
	}

	explicit BpfLink(const Napi::CallbackInfo &info) : Handle(info, tag) {}

private:
	Napi::Value info(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		bpf_link_info kernel{};
		uint32_t size = sizeof(kernel);
		int error = bpf_obj_get_info_by_fd(open_fd(env, "info"), &kernel, &size);
		if (error)
			throw make_error(env, error, "BPF_OBJ_GET_INFO_BY_FD", "not a link");
		auto result = Napi::Object::New(env);
		result.Set("id", kernel.id);
		result.Set("type", kernel.type);
		result.Set("programId", kernel.prog_id);
		return result;
	}

	void update(const Napi::CallbackInfo &info)
	{
		int fd = open_fd(info.Env(), "update");
		int error = bpf_link_update(fd, BpfProgram::from(info[0])->open_fd(info.Env(), "update"), nullptr);
		if (error)
			throw make_error(info.Env(), error, "BPF_LINK_UPDATE");
	}

	void pin(const Napi::CallbackInfo &info)
	{
		int fd = open_fd(info.Env(), "pin");
		std::string path = text_of(info[0], "path");
		int error = bpf_obj_pin(fd, path.c_str());
		if (error)
			throw make_error(info.Env(), error, "BPF_OBJ_PIN", path);
	}

	void detach(const Napi::CallbackInfo &info)
	{
		int error = bpf_link_detach(open_fd(info.Env(), "detach"));
		if (error)
			throw make_error(info.Env(), error, "BPF_LINK_DETACH");
	}
};

const napi_type_tag BpfLink::tag = {0x6c696e6b5f68616e, 0x646c655f6e617069};

Napi::Value create(
	Napi::Env env, const Napi::Value &program, uint32_t target, uint32_t type, uint32_t flags, const std::string &detail)
{
	LinkCreate arguments{};
	arguments.program = static_cast<uint32_t>(BpfProgram::from(program)->open_fd(env, "attach"));
	arguments.target = target;
	arguments.attach_type = type;
	arguments.flags = flags;
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &arguments, sizeof(arguments));
	if (fd < 0)
		throw make_error(env, errno, "BPF_LINK_CREATE", detail);
	return BpfLink::make(env, Fd(static_cast<int>(fd)));
}

// attachDevice(program, ifindex, attachType, flags): the device is looked for in the caller's network namespace.
Napi::Value attach_device(const Napi::CallbackInfo &info)
{
	uint32_t ifindex = number_of(info[1], "ifindex");
	return create(info.Env(), info[0], ifindex, number_of(info[2], "attachType"), number_of(info[3], "flags"),
		"device " + std::to_string(ifindex));
}

// attachCgroup(program, path, attachType, flags)
Napi::Value attach_cgroup(const Napi::CallbackInfo &info)
{
	std::string path = text_of(info[1], "path");
	Fd cgroup(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!cgroup)
		throw make_error(info.Env(), errno, "open", path);
	return create(info.Env(), info[0], static_cast<uint32_t>(cgroup.get()), number_of(info[2], "attachType"),
		number_of(info[3], "flags"), path);
}

Napi::Value open_link(const Napi::CallbackInfo &info)
{
	std::string path = text_of(info[0], "path");
	int fd = bpf_obj_get(path.c_str());
	if (fd < 0)
		throw make_error(info.Env(), fd, "BPF_OBJ_GET", path);
	return BpfLink::make(info.Env(), Fd(fd));
}

} // namespace

void export_links(Napi::Env env, Napi::Object exports)
{
	Napi::Function constructor = BpfLink::define(env);
	env.GetInstanceData<Constructors>()->link = Napi::Persistent(constructor);
	exports.Set("BpfLink", constructor);
	exports.Set("openLink", Napi::Function::New(env, open_link));
	exports.Set("attachDevice", Napi::Function::New(env, attach_device));
	exports.Set("attachCgroup", Napi::Function::New(env, attach_cgroup));
}
