// Checks of the kernel and what it lets us do.
import { type Check, fail, ok, warn } from "./types.ts";

/** bpf_redirect_peer (5.10) is the youngest thing that the programs cannot do without. */
const oldestKernel = [5, 10] as const;
const firstWithTcx = [6, 6] as const;

const needed: Readonly<Record<string, string>> = {
  CONFIG_BPF_SYSCALL: "the bpf() call",
  CONFIG_NET_CLS_ACT: "programs at the TC hooks",
  CONFIG_CGROUP_BPF: "published ports on 127.0.0.1",
  CONFIG_VETH: "container cables",
};

/** Without these something works less well. */
const wanted: Readonly<Record<string, string>> = {
  CONFIG_INET_DIAG_DESTROY: "sockets whose backend of a service is gone are not ended, and their programs notice by themselves",
};

export const kernelVersion: Check = async ({ host }) => {
  if (atLeast(host.kernel, oldestKernel)) return [ok("kernel", `${host.kernel} on ${host.arch}`)];
  return [fail("kernel", `${host.kernel} is older than ${oldestKernel.join(".")}`, "install a newer kernel; Debian 11 and later bring one")];
};

export const kernelBuild: Check = async ({ kernelConfig }) => {
  if (kernelConfig === undefined) {
    return [warn("kernel build", "neither /proc/config.gz nor /boot/config-… can be read", "nothing to do if the agent starts; otherwise look there for what it misses")];
  }
  const missing = Object.entries(needed).filter(([option]) => !kernelConfig.has(option));
  const lacking = Object.entries(wanted).filter(([option]) => !kernelConfig.has(option))
    .map(([option, what]) => warn("kernel build", `${option} is off: ${what}`, "nothing to do; or use a kernel that has it"));
  if (missing.length === 0) return [ok("kernel build", "has BPF, TC programs, cgroup programs and veth"), ...lacking];
  return missing.map(([option, what]) => fail("kernel build", `${option} is off: no ${what}`, "use a distribution's kernel, or build one with this option"));
};

export const jit: Check = async ({ host, kernelConfig }) => {
  const value = (await host.read("/proc/sys/net/core/bpf_jit_enable"))?.trim();
  if (kernelConfig?.get("CONFIG_BPF_JIT_ALWAYS_ON") === "y" || value === "1" || value === "2") return [ok("BPF JIT", "on")];
  if (value === undefined) return [warn("BPF JIT", "the kernel has none: programs are interpreted and slow", "use a kernel with CONFIG_BPF_JIT")];
  return [warn("BPF JIT", "off: programs are interpreted and slow", "sysctl -w net.core.bpf_jit_enable=1, and the same in /etc/sysctl.d/")];
};

export const btf: Check = async ({ host }) => {
  if (await host.exists("/sys/kernel/btf/vmlinux")) return [ok("BTF", "the kernel describes its types")];
  return [warn("BTF", "/sys/kernel/btf/vmlinux is missing", "use a kernel with CONFIG_DEBUG_INFO_BTF; distributions' kernels have it")];
};

export const tcHooks: Check = async ({ host, kernelConfig }) => {
  if (atLeast(host.kernel, firstWithTcx)) return [ok("TC hooks", "TCX: programs are replaced without a gap through pinned links")];
  if (kernelConfig === undefined || kernelConfig.has("CONFIG_NET_SCH_INGRESS")) {
    return [ok("TC hooks", "clsact (TCX comes with Linux 6.6): programs are replaced in place")];
  }
  return [fail("TC hooks", "this kernel has neither TCX nor clsact (CONFIG_NET_SCH_INGRESS)", "use Linux 6.6 or later, or one with sch_ingress")];
};

export const bpffs: Check = async ({ host, settings }) => {
  const folder = settings.paths.bpffs;
  const mounts = mountsOf(await host.read("/proc/self/mounts"), "bpf");
  const mount = mounts.find((point) => folder === point || folder.startsWith(`${point}/`));
  if (mount !== undefined) return [ok("bpffs", `mounted on ${mount}`)];
  return [warn("bpffs", `nothing is mounted that would hold ${folder}`, "nothing to do: the agent mounts it; to have it at every boot: mount -t bpf bpf /sys/fs/bpf")];
};

export const cgroup2: Check = async ({ host, settings }) => {
  const mounts = mountsOf(await host.read("/proc/self/mounts"), "cgroup2");
  const wanted = settings.paths.cgroup;
  const found = wanted === "auto" ? mounts[0] : mounts.find((point) => wanted === point || wanted.startsWith(`${point}/`));
  if (found === undefined) {
    const what = wanted === "auto" ? "no cgroup2 hierarchy is mounted" : `${wanted} is in no cgroup2 hierarchy`;
    return [fail("cgroup2", what, "mount -t cgroup2 none /sys/fs/cgroup/unified, or set paths.cgroup to where one is")];
  }
  if (wanted !== "auto" && !(await host.exists(wanted))) return [fail("cgroup2", `${wanted} does not exist`, "make that folder, or set paths.cgroup to auto")];
  return [ok("cgroup2", `host sockets are below ${wanted === "auto" ? found : wanted}`)];
};

export const lockdown: Check = async ({ host }) => {
  const modes = await host.read("/sys/kernel/security/lockdown");
  const mode = /\[(\w+)\]/.exec(modes ?? "")?.[1] ?? "none";
  if (mode === "confidentiality") {
    return [warn("lockdown", "confidentiality: the kernel refuses BPF programs that read kernel memory", "Hawser's programs do not; if the agent cannot load them, boot with lockdown=integrity")];
  }
  return [ok("lockdown", mode === "none" ? "off" : mode)];
};

export const privileges: Check = async ({ host }) => {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(await host.read("/proc/self/status") ?? "")?.[1];
  const effective = BigInt(`0x${text ?? "0"}`);
  // linux/capability.h
  const wanted = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n } as const;
  const missing = Object.entries(wanted).filter(([, bit]) => !((effective >> bit) & 1n)).map(([name]) => name);
  if (missing.length === 0) return [ok("privileges", "this process may do what the agent must")];
  return [warn("privileges", `${missing.join(" and ")} missing: some checks see less`, "run it as root")];
};

export function atLeast(release: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = release.split(/[.-]/).map(Number);
  return a > major || (a === major && b >= minor);
}

function mountsOf(text: string | undefined, type: string): readonly string[] {
  return (text ?? "").split("\n").map((line) => line.split(" ")).filter((fields) => fields[2] === type).map((fields) => fields[1] ?? "");
}
