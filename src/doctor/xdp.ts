// Whether uplinks' drivers will take XDP programs, where that shows beforehand: on virtio devices, whose hypervisor decides.
import { type Check, type Finding, type Host, ok, warn } from "./types.ts";

/** Places in a device's list of features (linux/virtio_net.h). */
const guestOffloadsAreOurs = 2;
const guestOffloads = [1, 7, 8, 9, 10, 54, 55];

/** What fits into one page beside an XDP program's room, on machines whose pages have 4096 bytes. */
const largestMtu = 3506;

export const xdp: Check = async ({ host, uplinks, settings: { loadBalancer: { acceleration } } }) => {
  if (acceleration === "off" || acceleration === "generic") return [];
  const findings = await Promise.all(uplinks.map(async ({ name, mtu, kind }): Promise<readonly Finding[]> => {
    // What /sys then tells is of another device of that name: of the namespace that mounted it.
    if (kind !== undefined) return [];
    const folder = `/sys/class/net/${name}/device`;
    if (!/^DRIVER=virtio_net$/m.test(await host.read(`${folder}/uevent`) ?? "")) return [];
    const why = refusal((await host.read(`${folder}/features`))?.trim() ?? "", mtu);
    if (why === undefined) return [ok("XDP", `${name}, a virtio device, takes it${await sharing(host, name)}`)];
    const [reason, mend] = why;
    return acceleration === "native"
      ? [warn("XDP", `${name}, a virtio device, will not take it: ${reason}`, `${mend}; or set loadBalancer.acceleration: auto`)]
      : [ok("XDP", `not for ${name}, a virtio device: ${reason}; services are balanced at its ingress. To have it: ${mend}`)];
  }));
  return findings.flat();
};

/** undefined: nothing speaks against it. */
function refusal(features: string, mtu: number): readonly [reason: string, mend: string] | undefined {
  const has = (place: number): boolean => features[place] === "1";
  if (!has(guestOffloadsAreOurs) && guestOffloads.some(has)) {
    return [
      "its hypervisor hands over joined packets and such without checksums, and does not let the guest end that",
      "start the virtual machine with ctrl_guest_offloads=on, or with guest_csum, guest_tso4, guest_tso6, guest_ecn and guest_ufo off",
    ];
  }
  if (mtu > largestMtu) return [`its MTU is ${mtu}, and a packet must fit into one page`, `an MTU of ${largestMtu} at most`];
  return undefined;
}

/** Each CPU sends by a queue of its own out of XDP where there are enough, beside those that all else uses. */
async function sharing(host: Host, name: string): Promise<string> {
  const most = Number(/^Combined:\s*(\d+)/m.exec(await host.run("ethtool", "-l", name) ?? "")?.[1] ?? Number.NaN);
  const cpus = Number((await host.read("/sys/devices/system/cpu/possible"))?.trim().split("-").at(-1) ?? Number.NaN) + 1;
  return most < 2 * cpus ? `; CPUs share its queues, of which it has ${most}, and would not with ${2 * cpus}` : "";
}
