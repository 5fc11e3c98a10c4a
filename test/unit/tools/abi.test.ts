// The ABI comes from compiled objects alone: what they say is generated, and where they disagree nothing is.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { generate } from "../../../tools/abi.ts";
import { scratchFolder } from "../../scratch.ts";

const clang = process.env["CLANG"] ?? "clang-16";

/** What is generated of these C texts, each an object of its own. */
function generated(sources: Readonly<Record<string, string>>): string {
  const folder = scratchFolder("abi");
  try {
    for (const [name, text] of Object.entries(sources)) {
      const source = join(folder, `${name}.c`);
      writeFileSync(source, `${words}\n${text}\n`);
      execFileSync(clang, ["-g", "-O2", "-target", "bpf", "-c", source, "-o", join(folder, `${name}.bpf.o`)]);
    }
    return generate(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const words = `
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32; typedef unsigned long long __u64;
typedef __u16 __be16; typedef __u32 __be32; typedef __u64 __be64;
struct hw_ip { union { __u8 bytes[16]; __be32 words[4]; }; };
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define SEC(name) __attribute__((section(name), used))
`;

test("fields become what their C types say", (t) => {
  const text = generated({
    one: `
      struct hw_inner_key { __be16 port; __u8 pad[2]; };
      struct hw_all_kinds {
        __u64 long_number; __be64 long_ordered; struct hw_ip addr; __be32 word; __u32 host_ifindex;
        __u8 host_mac[6]; __u8 raw_bytes[5]; __u8 pad; __u16 list[2]; struct hw_inner_key keys[2];
      };
      const volatile struct hw_all_kinds all = {};`,
  });
  for (const line of [
    "  readonly longNumber: bigint;", "  readonly addr: Ip | null;", "  readonly hostMac: Mac;", "  readonly rawBytes: Uint8Array;",
    "  readonly list: readonly (number)[];", "  readonly keys: readonly (InnerKey)[];",
    '  longOrdered: field("long_ordered", 8, be64),', '  word: field("word", 32, be32),', '  hostIfindex: field("host_ifindex", 36, u32),',
    '  rawBytes: field("raw_bytes", 46, bytes(5)),', '  list: field("list", 52, array(u16, 2)),', '  keys: field("keys", 56, array(innerKeyCodec, 2)),',
    'export const allKindsCodec: Codec<AllKinds> = struct<AllKinds>("hw_all_kinds", 64, {',
  ]) t.true(text.includes(`${line}\n`), line);
  t.false(text.includes("pad"), "padding is nobody's business");
  t.true(text.indexOf("interface InnerKey") < text.indexOf("interface AllKinds"), "what is held comes first");
});

test("enums become objects whose names lose what they share", (t) => {
  const text = generated({ one: "enum hw_colour { HW_COLOUR_RED = 1, HW_COLOUR_DARK_BLUE = 7 }; enum hw_colour colour;" });
  t.true(text.includes("export const Colour = {\n  RED: 1,\n  DARK_BLUE: 7,\n} as const;"));
  t.true(text.includes('  7: "DARK_BLUE",'));
});

test("maps become a table of kinds, codecs and sizes", (t) => {
  const text = generated({
    one: `
      struct hw_v { __u32 a; };
      struct { __uint(type, 9); __uint(max_entries, 1024); __uint(map_flags, 2); __type(key, struct hw_ip); __type(value, struct hw_v); } hw_things SEC(".maps");
      struct { __uint(type, 27); __uint(max_entries, 4096); } hw_ring SEC(".maps");`,
  });
  t.true(text.includes('hw_things: { name: "hw_things", kind: "lru_hash", key: ip, value: vCodec, maxEntries: 1024, flags: 2 }'));
  t.true(text.includes('hw_ring: { name: "hw_ring", kind: "ringbuf", maxEntries: 4096 }'));
});

const mapOfMaps = (value: string): string => `
  struct hw_inner_key { __u32 length; struct hw_ip addr; };
  struct hw_slots_inner { __uint(type, 11); __uint(max_entries, 64); __uint(map_flags, 1); __type(key, struct hw_inner_key); __type(value, ${value}); };
  struct { __uint(type, 12); __uint(max_entries, 2); __type(key, __u32); __array(values, struct hw_slots_inner); } hw_slots SEC(".maps");`;

test("a map of maps says what its maps are like, and their keys are shared words", (t) => {
  const text = generated({ one: mapOfMaps("__u32"), words: "struct hw_inner_key { __u32 length; struct hw_ip addr; }; struct hw_inner_key words;" });
  t.true(text.includes('hw_slots: { name: "hw_slots", kind: "array_of_maps", maxEntries: 2, inner: { name: "hw_slots", kind: "lpm_trie", key: innerKeyCodec, value: u32, maxEntries: 64, flags: 1 } satisfies MapShape<InnerKey, number> } satisfies MapOfMapsShape<InnerKey, number>'));
  t.true(text.includes("export interface InnerKey {"));
  t.throws(() => generated({ a: mapOfMaps("__u32"), b: mapOfMaps("__u64") }), {
    message: "map hw_slots, inner value: __u32 in a.bpf.o, __u64 in b.bpf.o\nmap hw_slots: no object holds the fields of struct hw_inner_key",
  });
  t.throws(() => generated({ one: 'struct { __uint(type, 12); __uint(max_entries, 2); } hw_slots SEC(".maps");' }), {
    message: "map hw_slots: declare what its maps are like with __array(values, …)",
  });
});

test("two objects that disagree on a structure are both named, with the field", (t) => {
  t.throws(
    () => generated({
      "from-container": "struct hw_endpoint { __u32 ifindex; __u32 mtu; }; struct hw_endpoint e;",
      netdev: "struct hw_endpoint { __u32 ifindex; __be32 mtu; }; struct hw_endpoint e;",
    }),
    { message: "struct hw_endpoint, field mtu: __u32 at byte 4 in from-container.bpf.o, __be32 at byte 4 in netdev.bpf.o" },
  );
});

test("two objects that disagree on an enum are both named, with the constant", (t) => {
  t.throws(
    () => generated({ a: "enum hw_e { HW_E_X = 1 } e;", b: "enum hw_e { HW_E_X = 2, HW_E_Y = 3 } e;" }),
    { message: "enum hw_e, constant HW_E_X: 1 in a.bpf.o, 2 in b.bpf.o\nenum hw_e, constant HW_E_Y: missing in a.bpf.o, 3 in b.bpf.o" },
  );
});

test("two objects that disagree on a map are both named, with what differs", (t) => {
  const map = (entries: number, key: string): string =>
    `struct { __uint(type, 1); __uint(max_entries, ${entries}); __type(key, ${key}); __type(value, __u32); } hw_things SEC(".maps");`;
  t.throws(
    () => generated({ a: map(64, "__u32"), b: map(128, "__u64") }),
    { message: "map hw_things, key: __u32 in a.bpf.o, __u64 in b.bpf.o\nmap hw_things, max_entries: 64 in a.bpf.o, 128 in b.bpf.o" },
  );
});

test("implicit padding is refused, because map keys are compared byte by byte", (t) => {
  t.throws(() => generated({ a: "struct hw_k { __u8 proto; __u32 id; }; struct hw_k k;" }), {
    message: "a.bpf.o: struct hw_k, field id: 3 bytes before it are implicit padding; name them pad",
  });
  t.throws(() => generated({ a: "struct hw_k { __u32 id; __u8 proto; }; struct hw_k k;" }), {
    message: "a.bpf.o: struct hw_k: its last 3 bytes are implicit padding; name them pad",
  });
});

test("what has no codec is refused with its place", (t) => {
  const refused: readonly (readonly [source: string, message: string])[] = [
    ["struct hw_k { int delta; } k;", "a.bpf.o: struct hw_k, field delta: signed numbers have no codec"],
    ["struct hw_k { __u32 low : 4; __u32 high : 28; } k;", "a.bpf.o: struct hw_k, field low: bit fields have no codec"],
    ["struct hw_k { union { __u32 a; __u32 b; } either; } k;", "a.bpf.o: struct hw_k, field either: union has no codec"],
    ["struct other { __u32 a; }; struct hw_k { struct other o; } k;", "a.bpf.o: struct hw_k, field o: struct other is not one of ours"],
    ["struct hw_k { void *at; } k;", "a.bpf.o: struct hw_k, field at: pointer has no codec"],
  ];
  for (const [source, message] of refused) t.throws(() => generated({ a: source }), { message });
});

test("what only a program's functions hand around is not shared", (t) => {
  const text = generated({
    one: `
      struct hw_local { __u8 a; __u32 b; }; struct hw_known { __u32 a; };
      const volatile struct hw_known known = {};
      __attribute__((noinline)) int parse(struct hw_local *local) { return local->a; }
      SEC("tc") int program(void *ctx) { struct hw_local local = { .a = 1 }; return parse(&local); }`,
  });
  t.true(text.includes("interface Known"));
  t.false(text.includes("Local"));
});

test("the same objects give the same text", (t) => {
  const sources = { b: "enum hw_e { HW_E_X = 1 } e; struct hw_z { __u32 a; } z;", a: "struct hw_a { __u32 a; } a; enum hw_b { HW_B_X = 1 } b;" };
  t.is(generated(sources), generated(sources));
});
