// Sockets made in other network namespaces, without moving a thread of Node's there.
#pragma once

#include "common.h"

// A socket in the namespace at `path`, or in the caller's own when it is empty. Throws Failure.
Fd socket_in(const std::string &path, int domain, int type, int protocol);
