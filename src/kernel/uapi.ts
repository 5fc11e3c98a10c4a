// Numbers of linux/bpf.h that the addon is called with.
import type { CgroupHook, MapKind, TcHook } from "./types.ts";

/** enum bpf_map_type */
export const mapTypes: Readonly<Record<Exclude<MapKind, "other">, number>> = {
  hash: 1, array: 2, prog_array: 3, percpu_hash: 5, percpu_array: 6, lru_hash: 9, lpm_trie: 11, array_of_maps: 12, hash_of_maps: 13,
  sk_storage: 24, ringbuf: 27,
};

/** BPF_F_NO_PREALLOC: an LPM trie is refused without it. */
export const noPreallocation = 1;

/** enum bpf_prog_type */
export const programTypes = { schedCls: 3, xdp: 6 } as const;

/** enum bpf_attach_type */
export const tcxAttachTypes: Readonly<Record<TcHook, number>> = { ingress: 46, egress: 47 };
export const xdpAttachType = 37;
export const cgroupAttachTypes: Readonly<Record<CgroupHook, number>> = {
  bind4: 8, bind6: 9, connect4: 10, connect6: 11, sendmsg4: 14, sendmsg6: 15,
  recvmsg4: 19, recvmsg6: 20, getpeername4: 29, getpeername6: 30,
};

/** XDP_FLAGS_* of linux/if_link.h */
export const xdpFlags = { generic: 2, native: 4 } as const;

/** enum bpf_tc_attach_point and bpf_tc_flags of libbpf */
export const tcAttachPoints: Readonly<Record<TcHook, number>> = { ingress: 1, egress: 2 };
export const tcReplace = 1;

/** BPF_ANY, BPF_NOEXIST, BPF_EXIST */
export const updateFlags = { any: 0, create: 1, update: 2 } as const;

/** struct __sk_buff; the kernel takes and gives shorter ones. */
export const skBuffSize = 192;

/** BPF_F_TEST_XDP_LIVE_FRAMES */
export const liveFrames = 2;

export function mapKindOf(type: number): MapKind {
  for (const [kind, number] of Object.entries(mapTypes)) if (number === type) return kind as MapKind;
  return "other";
}
