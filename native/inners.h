// Maps that are put in a map of maps, on a thread that may wait for the kernel.
#pragma once

#include "common.h"

// One map for each key. Rejects with the kernel's error; `name`: the outer map's.
Napi::Promise put_inners(Napi::Env env, std::string name, Fd outer, const Bytes &keys, size_t key_size, std::vector<Fd> inner);
