// BTF as bytes: whoever asks parses it.
#include "common.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>

namespace
{

struct FreeBtf {
	void operator()(btf *types) const { btf__free(types); }
};

// readBtf(path): of an object file's .BTF section or of a raw file.
Napi::Value read_btf(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string path = text_of(info[0], "path");
	LibbpfLog log;
	std::unique_ptr<btf, FreeBtf> types(btf__parse(path.c_str(), nullptr));
	if (!types)
		throw make_error(env, errno, "btf__parse", path + (log.text().empty() ? "" : "\n" + log.text()));
	uint32_t size = 0;
	const void *raw = btf__raw_data(types.get(), &size);
	if (!raw)
		throw make_error(env, ENOMEM, "btf__raw_data", path);
	return copy_out(env, raw, size);
}

} // namespace

void export_btf(Napi::Env env, Napi::Object exports)
{
	exports.Set("readBtf", Napi::Function::New(env, read_btf));
}
