// The addon: handles of the kernel for JavaScript. Bytes in, bytes out, errno as errors; no policy and no defaults.
#include "common.h"

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	env.SetInstanceData(new Constructors());
	LibbpfLog::install();
	export_maps(env, exports);
	export_programs(env, exports);
	export_objects(env, exports);
	export_links(env, exports);
	export_tc(env, exports);
	export_rings(env, exports);
	export_btf(env, exports);
	export_netns(env, exports);
	export_netlink(env, exports);
	export_host(env, exports);
	export_table(env, exports);
	return exports;
}

NODE_API_MODULE(hawser, init)
