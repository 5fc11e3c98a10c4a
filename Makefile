# What C and C++ need: the addon and the BPF objects. Everything else runs from source.
NODE_ARCH := $(if $(filter aarch64,$(shell uname -m)),arm64,x64)
MULTIARCH := $(shell gcc -print-multiarch)
NODE_HEADERS ?= node_modules/node-linux-$(NODE_ARCH)/include/node

CLANG ?= clang-16
LLVM_STRIP ?= llvm-strip-16
CXX ?= g++

NATIVE_OUT ?= build/hawser.node
NATIVE_OBJ_DIR ?= build/native
NATIVE_INCLUDES ?=
NATIVE_LIBS ?= -lbpf
NATIVE_SOURCES := $(wildcard native/*.cc)
NATIVE_HEADERS := $(wildcard native/*.h)
NATIVE_OBJECTS := $(NATIVE_SOURCES:native/%.cc=$(NATIVE_OBJ_DIR)/%.o)
# Headers that are not ours are -isystem, so that -Werror speaks of our code only.
NATIVE_FLAGS := -std=c++17 -O2 -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections -Wall -Wextra -Werror \
	-DNAPI_VERSION=9 -DNAPI_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED -DBUILDING_NODE_EXTENSION \
	$(NATIVE_INCLUDES) -isystem node_modules/node-addon-api -isystem $(NODE_HEADERS)
NATIVE_LINK := -shared -pthread -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,-z,relro,-z,now -Wl,--gc-sections

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_HEADERS := $(shell find bpf -name '*.h')
BPF_OBJECTS := $(BPF_SOURCES:bpf/%.bpf.c=build/bpf/%.bpf.o)
BPF_FLAGS := -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -Ibpf -I/usr/include/$(MULTIARCH)

.PHONY: all native bpf clean help
all: native bpf ## the addon and the BPF objects

native: $(NATIVE_OUT) ## build/hawser.node, linked with the machine's libbpf

bpf: $(BPF_OBJECTS) ## build/bpf/*.bpf.o

$(NATIVE_OBJ_DIR)/%.o: native/%.cc $(NATIVE_HEADERS) Makefile
	@mkdir -p $(@D)
	$(CXX) $(NATIVE_FLAGS) -c $< -o $@

# Linked beside and moved: a running agent keeps the file it has mapped.
$(NATIVE_OUT): $(NATIVE_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) $(NATIVE_LINK) $^ $(NATIVE_LIBS) -o $@.new
	mv $@.new $@

build/bpf/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS) Makefile
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) -c $< -o $@.new
	$(LLVM_STRIP) -g $@.new
	mv $@.new $@

clean: ## removes build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z]*\):.* ## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12
