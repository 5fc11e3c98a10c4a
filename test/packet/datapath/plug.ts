// Namespaces that stand for containers and for the world behind the uplink, and what is run inside them.
import { execFileSync } from "node:child_process";
import { patience } from "../../lab/run.ts";
import type { World } from "./namespace.ts";

/** Namespaces of our own, and the uplink's far end in one of them. */
export function prepare({ ip }: World): void {
  execFileSync("mount", ["-t", "tmpfs", "hwt", "/run"]);
  for (const name of ["a", "b", "far", "lan"]) ip(`netns add ${name}`);
  ip("link set lan0 netns lan");
  ip("-n lan address add 192.0.2.1/24 dev lan0");
  ip("-n lan link set lan0 up");
}

export function plug({ ip }: World, namespace: string, device: string, host: number, subnet = "10.44.0"): void {
  ip(`link set ${device} netns ${namespace} name eth0`);
  for (const words of [
    "link set lo up", `address add ${subnet}.${host}/24 dev eth0`, `-6 address add fd44::${host}/64 dev eth0 nodad`, "link set eth0 up",
    `route add default via ${subnet}.1`, "-6 route add default via fd44::1",
  ]) ip(`-n ${namespace} ${words}`);
}

/** `nsenter`, because `ip netns exec` mounts a /sys that hides our pins from what it runs. */
export function inside(namespace: string, command: readonly string[]): string {
  return execFileSync("nsenter", [`--net=/run/netns/${namespace}`, ...command], { encoding: "utf8", timeout: 4000 * patience, stdio: ["ignore", "pipe", "pipe"] });
}

export function ping(namespace: string, target: string): void {
  inside(namespace, ["ping", "-c1", "-W2", target]);
}
