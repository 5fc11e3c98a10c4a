// A loaded BPF program.
#pragma once

#include "common.h"

class BpfProgram : public Handle<BpfProgram>
{
public:
	static const napi_type_tag tag;
	static Napi::Function define(Napi::Env env);
	// `name` and `section` as the object has them: the kernel keeps 15 characters of the name and no section.
	static Napi::Object make(Napi::Env env, Fd fd, const std::string &name, const std::string &section);
	static BpfProgram *from(const Napi::Value &value) { return Handle::from(value, tag, "program"); }

	explicit BpfProgram(const Napi::CallbackInfo &info);

private:
	Napi::Value info(const Napi::CallbackInfo &info);
	Napi::Value test_run(const Napi::CallbackInfo &info);

	std::string name_;
	std::string section_;
};
