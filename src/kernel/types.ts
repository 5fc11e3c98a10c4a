// Kernel handles as the rest of Hawser sees them: bytes in, bytes out, errno as errors. Implemented over native/.

/** Thrown by every handle: `errno` is the positive number, `syscall` what was asked, `detail` the kernel's or verifier's own words. */
export interface KernelErrorShape {
  readonly errno: number;
  readonly syscall: string;
  readonly detail: string;
}

export type MapKind =
  | "hash" | "array" | "lru_hash" | "percpu_array" | "percpu_hash" | "lpm_trie" | "sk_storage" | "ringbuf" | "prog_array" | "array_of_maps" | "hash_of_maps" | "other";

export interface MapInfo {
  readonly id: number;
  readonly name: string;
  readonly kind: MapKind;
  readonly keySize: number;
  /** Of one value; per-CPU maps return `cpus` of them, each rounded up to 8 bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** As in linux/bpf.h. */
  readonly flags: number;
}

/** An open map. After `close()` every method throws. */
export interface KernelMap extends Disposable {
  readonly info: MapInfo;
  get(key: Uint8Array): Uint8Array | undefined;
  /** flags: "any" (default), "create" (fails with EEXIST), "update" (fails with ENOENT). */
  set(key: Uint8Array, value: Uint8Array, flags?: "any" | "create" | "update"): void;
  /** False when the key was not there. */
  delete(key: Uint8Array): boolean;
  /** Every entry, read in batches; entries changed meanwhile may be missed or seen once. Works for per-CPU maps (value: all CPUs concatenated). */
  entries(): Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** As `entries`, without those whose value is zero, which in an array nearly all are. */
  filled(): Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** As `filled`, some at a time; `pause` is asked also where there are none. */
  filledInTurns(pause: () => Promise<void>): AsyncIterable<Iterable<readonly [key: Uint8Array, value: Uint8Array]>>;
  /** Of an array, not a per-CPU one: so many values from that key on, one after the other; fewer at its end. */
  values(first: number, count: number): Uint8Array;
  setBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  /** As setBatch, with the keys and the values each one after the other: how to write very many. */
  setPacked(keys: Uint8Array, values: Uint8Array): void;
  /** Of a map of maps: what `get` gives then is the inner map's id, four bytes. Only maps of the declared shape fit; their size may differ. */
  setInner(key: Uint8Array, inner: KernelMap): void;
  /** As setInner, for many, with the keys one after the other: the kernel waits once for those who may still read what was there, and nobody here for the kernel. */
  setInners(keys: Uint8Array, inner: readonly KernelMap[]): Promise<void>;
  /**
   * Of an array that was made to be mapped, whose values are words of 8 bytes: words one after the other from that one of all on, each written by one store.
   * `values`: their bytes; or the words themselves, where none has more than 16 bits.
   */
  store(first: number, values: Uint8Array | Uint16Array): void;
  /** How many were there. */
  deleteBatch(keys: readonly Uint8Array[]): number;
  pin(path: string): void;
  close(): void;
}

export interface ProgramTestRun {
  readonly data: Uint8Array;
  /** struct __sk_buff (or xdp_md) as bytes; offsets as in linux/bpf.h. */
  readonly context?: Uint8Array;
  readonly repeat?: number;
  /** XDP alone: each run has a frame of its own, which goes where the verdict says, and nothing of it comes back. What a run wrote may stand in a later one's. */
  readonly live?: boolean;
}

export interface ProgramTestResult {
  readonly verdict: number;
  readonly data: Uint8Array;
  readonly context: Uint8Array;
  /** Average nanoseconds of one run. */
  readonly duration: number;
}

export interface KernelProgram {
  readonly name: string;
  readonly section: string;
  readonly id: number;
  testRun(input: ProgramTestRun): ProgramTestResult;
}

/** A loaded object. */
export interface KernelObject extends Disposable {
  readonly programs: ReadonlyMap<string, KernelProgram>;
  readonly maps: ReadonlyMap<string, KernelMap>;
  close(): void;
}

export interface LoadOptions {
  /** Contents for `const volatile` variables, by name; size must match exactly. */
  readonly rodata?: Readonly<Record<string, Uint8Array>>;
  /** Maps to use instead of making new ones, by name (already open). The shapes must match or the load fails naming the map. */
  readonly reuse?: ReadonlyMap<string, KernelMap>;
  /** Changes of size made before load, by map name. */
  readonly maxEntries?: Readonly<Record<string, number>>;
}

export type TcHook = "ingress" | "egress";
/** `native`: in the driver, before there is an skb. */
export type XdpMode = "native" | "generic";

/** An attachment that lasts as long as its handle or its pin. */
export interface KernelLink extends Disposable {
  readonly id: number;
  /** Id of the program that it held when it was opened. */
  readonly program: number;
  /** Swaps the program with no gap (BPF_LINK_UPDATE). */
  update(program: KernelProgram): void;
  pin(path: string): void;
  /** Detaches even if pinned elsewhere (BPF_LINK_DETACH). */
  detach(): void;
  close(): void;
}

export type CgroupHook =
  | "connect4" | "connect6" | "sendmsg4" | "sendmsg6" | "recvmsg4" | "recvmsg6" | "getpeername4" | "getpeername6" | "bind4" | "bind6";

/** The whole kernel, as src/kernel/index.ts exports it (functions of these names and shapes). */
export interface Kernel {
  /** Opens, configures, loads and verifies off the main thread. */
  loadObject(path: string, options?: LoadOptions): Promise<KernelObject>;
  openPinnedMap(path: string): KernelMap;
  openPinnedLink(path: string): KernelLink;
  /** @throws KernelError ENOENT when there is no such map any more */
  openMapById(id: number): KernelMap;
  /** `flags`: BPF_F_* beside what the kind must have. `inner`: like which the maps of a map of maps are to be. */
  createMap(
    kind: MapKind, name: string, keySize: number, valueSize: number, maxEntries: number,
    more?: { readonly flags?: number; readonly inner?: KernelMap },
  ): KernelMap;
  attachTcx(program: KernelProgram, ifindex: number, hook: TcHook): KernelLink;
  /** clsact, direct action, fixed handle and priority; replaces what is there under that handle. Lives until detached. */
  attachClsact(program: KernelProgram, ifindex: number, hook: TcHook, handle: number, priority: number): void;
  detachClsact(ifindex: number, hook: TcHook, handle: number, priority: number): void;
  attachXdp(program: KernelProgram, ifindex: number, mode: XdpMode): KernelLink;
  attachCgroup(program: KernelProgram, cgroupPath: string, hook: CgroupHook): KernelLink;
  /** Calls back on the event loop with each record, until closed: at once when it is woken, and a moment after it found any, unwoken. */
  openRing(map: KernelMap, onRecord: (record: Uint8Array) => void): Disposable;
  /** Raw BTF (.BTF section) of an object file or of the running kernel ("/sys/kernel/btf/vmlinux"). */
  readBtf(path: string): Uint8Array;
  /** SO_NETNS_COOKIE of the namespace of that file, or of the calling thread's; undefined before Linux 5.14. */
  netnsCookie(path?: string): bigint | undefined;
  /** Whether BPF_LINK_CREATE for TCX works here. */
  probeTcx(): boolean;
  /** Mounts bpffs at the path unless one is there. */
  mountBpffs(path: string): void;
  /** Gives back free heap, and pages of code and constants of this process: what is used again is mapped again from the page cache. */
  trim(): void;
  /** sd_notify datagram; false when NOTIFY_SOCKET is not set. */
  sdNotify(state: string): boolean;
}

// ---- rtnetlink (src/kernel/netlink/): messages encoded in TypeScript, the socket is a native handle.

export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** Its cable is in: packets can pass. */
  readonly carrier: boolean;
  readonly noArp: boolean;
  /** IFLA_LINKINFO kind, "veth", "" for hardware. */
  readonly kind: string;
  /** ARPHRD_*, 1 = Ethernet, 772 = loopback. */
  readonly type: number;
  /** UDP port of a VXLAN or Geneve device; null: none of them. */
  readonly tunnelPort: number | null;
  /** Of a veth whose other end is in another namespace: that one's number, as ours knows it. */
  readonly peerNamespace: number | null;
  /** What takes its frames before all else; `program`: its id, 0 where there are several. null: nothing does. */
  readonly xdp: { readonly mode: XdpMode | "other"; readonly program: number } | null;
}

export interface AddressInfo {
  readonly index: number;
  /** `address/length` text. */
  readonly prefix: string;
  readonly scope: "global" | "link" | "host" | "other";
  readonly flags: number;
}

export interface RouteInfo {
  /** CIDR text; 0.0.0.0/0 or ::/0 for the default. */
  readonly destination: string;
  readonly index: number;
  readonly gateway: string | null;
  /** The preferred source address. */
  readonly source: string | null;
  readonly table: number;
  readonly type: number;
  readonly metric: number;
  /** Who made it, RTPROT_* (/etc/iproute2/rt_protos). */
  readonly protocol: number;
}

export interface Netlink extends Disposable {
  links(): Promise<readonly LinkInfo[]>;
  link(name: string): Promise<LinkInfo | undefined>;
  createVeth(spec: {
    readonly name: string; readonly peer: string;
    readonly mac?: string; readonly peerMac?: string; readonly mtu?: number;
    /** The number that `name` shall have; refused when another device has it. */
    readonly index?: number;
  }): Promise<void>;
  /** A device in collect-metadata mode. */
  createTunnel(spec: { readonly name: string; readonly kind: "vxlan" | "geneve"; readonly port: number; readonly index?: number }): Promise<void>;
  setLink(index: number, change: {
    readonly up?: boolean; readonly mtu?: number; readonly mac?: string; readonly noArp?: boolean; readonly name?: string;
    /** IFLA_AF_SPEC/AF_INET6/ADDR_GEN_MODE none. */
    readonly noLinkLocal?: boolean;
  }): Promise<void>;
  /** False when there was none. */
  deleteLink(name: string): Promise<boolean>;
  addresses(): Promise<readonly AddressInfo[]>;
  /** Succeeds when it is there already. IPv6 gets IFA_F_NODAD. */
  addAddress(index: number, prefix: string): Promise<void>;
  deleteAddress(index: number, prefix: string): Promise<boolean>;
  /**
   * Makes the device, and switches beside it, let an IPv6 multicast group through, for good: it becomes an address of the device, which `deleteAddress` removes.
   * Succeeds when it is there already.
   */
  joinGroup(index: number, group: string): Promise<void>;
  routes(): Promise<readonly RouteInfo[]>;
  /**
   * Adds or replaces the one of that destination and metric. `source` is the preferred source address; scope link when there is no gateway; `protocol`
   * RTPROT_STATIC when left out; `metric` the kernel's own: 0 for IPv4, 1024 for IPv6.
   */
  replaceRoute(route: {
    readonly destination: string; readonly index: number; readonly source?: string; readonly gateway?: string; readonly protocol?: number; readonly metric?: number;
  }): Promise<void>;
  /** False when there was none. What is left out may be any. */
  deleteRoute(route: { readonly destination: string; readonly index: number; readonly protocol?: number; readonly metric?: number }): Promise<boolean>;
  /** Calls back, coalesced, when links, addresses or routes of the namespace change; until disposed. */
  watch(onChange: () => void): Disposable;
}

// ---- Sockets of one network namespace (sock_diag).

export interface RemoteEnd {
  readonly address: string;
  readonly port: number;
}

/** A connected TCP or UDP socket. */
export interface SocketRow extends RemoteEnd {
  readonly protocol: "tcp" | "udp";
  /** SO_COOKIE */
  readonly cookie: bigint;
  /** What the wanted BPF map keeps with the socket; undefined: nothing, or it is of UDP, of which the kernel does not tell. */
  readonly kept: Uint8Array | undefined;
  /** By which the kernel finds it again, and no other that has its place. */
  readonly id: Uint8Array;
}

export interface SocketList extends Disposable {
  /** Those of the protocol whose other end is one of these. `map`: a map of kind sk_storage. */
  connectedTo(protocol: "tcp" | "udp", ends: readonly RemoteEnd[], map: KernelMap): Promise<readonly SocketRow[]>;
  /**
   * Whoever waits on the socket gets ECONNABORTED; of TCP the other end gets a reset, and UDP's is connected to nobody. False: it was gone already.
   * @throws KernelError EOPNOTSUPP where the kernel was built without CONFIG_INET_DIAG_DESTROY
   */
  end(socket: SocketRow): Promise<boolean>;
}
