// What the doctor is told, what it may look at, and what it answers.
import type { Finding } from "../std/finding.ts";
import type { IpsecPolicy } from "../std/ipsec.ts";

export type { Finding } from "../std/finding.ts";

/** The parts of the configuration that checks depend on; the whole configuration fits. */
export interface Settings {
  readonly node: { readonly devices: "auto" | readonly string[]; readonly address: string | readonly string[]; readonly name: string | null };
  readonly pool: { readonly ipv4: string; readonly ipv6: string | null };
  readonly docker: { readonly enabled: boolean; readonly socket: string; readonly pluginDirectory: string };
  readonly api: { readonly socket: string };
  readonly paths: { readonly bpffs: string; readonly cgroup: string };
  readonly routing: { readonly mode: "overlay" | "native"; readonly direct: boolean; readonly port: number };
  readonly store: { readonly kind: "embedded" | "etcd" };
  readonly loadBalancer: { readonly acceleration: "auto" | "native" | "generic" | "off" };
  readonly peers: readonly { readonly name: string; readonly address: string | readonly string[] }[];
}

/** Where this build keeps what is compiled. */
export interface Installation {
  readonly addon: string;
  /** Compiled BPF objects, every one of them. */
  readonly objects: readonly string[];
}

/** The host as the checks see it: reading only. */
export interface Host {
  /** undefined: not there, or not readable. */
  read(path: string): Promise<string | undefined>;
  /** Like `read`, through gunzip. */
  readCompressed(path: string): Promise<string | undefined>;
  /** Names in a folder; empty when there is none. */
  list(path: string): Promise<readonly string[]>;
  exists(path: string): Promise<boolean>;
  /** Standard output of a program that ended with 0 within 3 s; undefined: not installed, failed or late. */
  run(program: string, ...args: readonly string[]): Promise<string | undefined>;
  /** Whether something accepts connections on a unix socket. */
  accepts(socket: string): Promise<boolean>;
  /** JSON from an HTTP server on a unix socket. @throws Error saying why not */
  getJson(socket: string, path: string): Promise<unknown>;
  /** IPsec policies for what leaves the host; undefined: they cannot be read, because the addon is not built. */
  ipsec(): Promise<readonly IpsecPolicy[] | undefined>;
  /** Addresses of services that other machines have, or say that they have, as the agent hears; undefined: it does not answer on the socket. */
  contested(socket: string): Promise<readonly Omit<Finding, "check" | "state">[] | undefined>;
  /** The running kernel's release, `6.1.0-18-amd64`. */
  readonly kernel: string;
  readonly node: string;
  readonly arch: string;
}

/** Facts that several checks need, read once. */
export interface Scene {
  readonly host: Host;
  readonly settings: Settings;
  readonly installation: Installation;
  readonly uplinks: readonly Device[];
  readonly routes: readonly Route[];
  /** The kernel's build configuration, or undefined when it does not tell. */
  readonly kernelConfig: ReadonlyMap<string, string> | undefined;
}

export interface Device {
  readonly name: string;
  readonly mtu: number;
  readonly ethernet: boolean;
  readonly up: boolean;
  /** Name or id of an XDP program on it. */
  readonly xdp: string | undefined;
  /** As iproute2 calls what the kernel made (veth, bond, …): no hardware has one. */
  readonly kind: string | undefined;
}

export interface Route {
  /** CIDR text. */
  readonly destination: string;
  readonly device: string;
}

export type Check = (scene: Scene) => Promise<readonly Finding[]>;

export function ok(check: string, detail: string): Finding {
  return { check, state: "ok", detail, mend: "" };
}

export function warn(check: string, detail: string, mend: string): Finding {
  return { check, state: "warn", detail, mend };
}

export function fail(check: string, detail: string, mend: string): Finding {
  return { check, state: "fail", detail, mend };
}
