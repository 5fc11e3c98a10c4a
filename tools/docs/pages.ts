// The generated pages: drops, maps and errors, each as text.
import type { MapShape } from "../../src/abi/codec.ts";
import { DropReason, maps } from "../../src/abi/generated.ts";
import type { DropReasonName, MapName } from "../../src/abi/generated.ts";
import { reasonSentences } from "../../src/abi/reasons.ts";
import { errorCodes } from "../../src/std/errors.ts";
import { draw, segmentsOf } from "./draw.ts";

/** What each map is for and who writes it; a map without a line here does not compile. */
const mapNotes: Readonly<Record<MapName, readonly [purpose: string, writer: string]>> = {
  hw_addresses: ["The endpoint that has an address.", "agent"],
  hw_ct4: ["IPv4 flows: the packet as seen → the packet as it leaves. Each flow has two entries.", "programs; the agent sweeps what expired"],
  hw_ct6: ["IPv6 flows, as hw_ct4.", "programs; the agent sweeps what expired"],
  hw_endpoints: ["The endpoint behind a host-side device, by ifindex.", "agent"],
  hw_events: ["One record for each dropped packet, each newly opened flow and each flow judged again.", "programs"],
  hw_fragments: ["Ports of fragmented datagrams, learnt from their first fragments.", "programs"],
  hw_frontends: ["Published ports. Address 0.0.0.0 or :: stands for every address of the host in its family.", "agent"],
  hw_host_addrs: ["Addresses that the host answers to.", "agent"],
  hw_lb_held: ["Addresses of services that this node holds, by uplink: the MAC that is told to whoever asks for them there, and until when.", "agent"],
  hw_lb_rivals: ["Machines that say that they have a service's address which is certainly this node's.", "programs"],
  hw_lb_backends: ["Backends of services by number, with the next hop of outer packets to each.", "agent; programs the next hop"],
  hw_lb_clients: ["With which backend a client of a service with affinity stays, and which had it before: a slot for each client.", "programs; the agent forgets numbers that are out of use"],
  hw_lb_places: ["Where each backend listens and where outer packets to it go, by its number.", "agent"],
  hw_lb_closed: ["Backends that take nothing new of a service with affinity, and since when.", "agent"],
  hw_lb_counters: ["Packets and bytes sent to each backend, and flows seen to begin and to end, 256 backends in one entry.", "programs"],
  hw_lb_elsewhere: ["When a packet of each changed slot last went to another backend than the slot's current one; the agent settles slots of which none did for long.", "programs"],
  hw_lb_flows: ["Flows on changed slots that are not where the slot alone would send them.", "programs"],
  hw_lb_frontends: ["The service of an address and port, two in each bucket; port 0: the address is a service's.", "agent"],
  hw_lb_homes: ["By which address a network namespace's sockets are clients of services, by the namespace's cookie.", "agent"],
  hw_lb_origins: ["As whom answers of servers that know nothing of services go to clients: the frontend that was asked.", "agent"],
  hw_lb_pool_states: ["What is known of each pool: where no port could be taken within the last second, and when all of it was last looked through.", "programs"],
  hw_lb_pools: ["From which ports servers that know nothing of services are asked: one pool for each server, by its number, eight ports in a block.", "programs; the agent makes them"],
  hw_lb_services: ["Services by number: where their slots lie.", "agent"],
  hw_lb_slots: ["All services' tables in one row, in pages of 65536 words: the backend of a flow, by its hash. A word is one slot, or several of a table that remembers nothing; `hawser map dump` shows each slot, by its table.", "agent"],
  hw_lb_sources: ["Which clients may use a service: where ranges begin that may and that may not, in lines of 64 bytes, list after list.", "agent"],
  hw_members: ["The endpoints of a network that get copies of what is sent to a group, by slot.", "agent"],
  hw_metrics: ["Packets and bytes by direction × 128 + reason; reason 0 counts what was forwarded.", "programs"],
  hw_containers: ["Which container is behind a host-side device, by ifindex; only of those on several networks, whose answers leave by one device for all.", "agent"],
  hw_name_scopes: ["The other networks of the container behind a host-side device, by ifindex: it may ask for names there, too.", "agent"],
  hw_names: ["What containers of a network may ask for and Docker here does not know: addresses on other nodes.", "agent"],
  hw_networks: ["Networks by their number.", "agent"],
  hw_nodes: ["Other nodes by this node's number for them: where tunnels to them end, and how much fits.", "agent"],
  hw_peers: ["The number of the node with an address of the underlay: who may send tunnel packets.", "agent"],
  hw_balancers: ["The number of the node with an IPv6 address of the underlay, by the hash that stands for it in packets of services that were passed on.", "agent"],
  hw_pointers: ["The name behind an address on another node, by the name that DNS has for the address (`9.0.60.10.in-addr.arpa`).", "agent"],
  hw_remotes: ["A container on another node, by address: its node, identity and network.", "agent"],
  hw_slices: ["The node whose slice of the pool holds an address; 0: nobody's.", "agent"],
  hw_policy_classes: ["The class of an identity, with what holds for it when no rule speaks.", "agent"],
  hw_policy_pairs: ["The ruleset between a container's class and a peer's; peer 0: every one without an entry of its own.", "agent"],
  hw_policy_ports: ["A ruleset's verdict for a port: the longest prefix of ruleset, protocol and port decides.", "agent"],
  hw_policy_prefixes: ["The class of an address that is no container's.", "agent"],
  hw_policy_state: ["The revision in force; its lowest bit is the slot of the four tables that holds.", "agent"],
  hw_sock_connected: ["What a socket asked for when it connected, and the backend it got; kept with the socket.", "sock-lb"],
  hw_sock_sent: ["The same of datagrams without a connection: the last eight addresses that a socket sent to.", "sock-lb"],
  hw_sock_udp: ["The same of connected UDP, by the socket's cookie, so that the agent finds whom to end.", "sock-lb"],
  hw_uplink_macs: ["The MACs of the uplinks: who says with one of them that he has a service's address is this node itself, by another uplink on the link.", "agent"],
  hw_uplinks: ["Devices with a way to the world, by ifindex.", "agent"],
};

export const pages: Readonly<Record<string, () => string>> = {
  "drops.md": dropsPage,
  "errors.md": errorsPage,
  "maps.md": mapsPage,
};

const notice = (source: string): string => `<!-- Generated by \`npm run docs\` from ${source}. Do not edit. -->`;

function dropsPage(): string {
  const names = Object.keys(DropReason) as DropReasonName[];
  return [
    "# Drop reasons",
    "",
    notice("bpf/abi/reasons.h and src/abi/reasons.ts"),
    "",
    "Every dropped packet has one of these reasons. They are counted in `hawser_drops_total{reason,direction}` even when the event about",
    "the packet is lost. Numbers never change their meaning.",
    "",
    "| number | reason | what it means |",
    "|---:|---|---|",
    ...names.map((name) => `| ${DropReason[name]} | \`${name}\` | ${reasonSentences[name]} |`),
    "",
  ].join("\n");
}

function errorsPage(): string {
  return [
    "# Errors",
    "",
    notice("src/std/errors.ts"),
    "",
    "Every error that Hawser shows has a code, which never changes its meaning, and a sentence that names the thing, the place and the remedy.",
    "",
    "| code | what to do |",
    "|---|---|",
    ...Object.entries(errorCodes).map(([code, remedy]) => `| \`${code}\` | ${remedy} |`),
    "",
  ].join("\n");
}

function mapsPage(): string {
  const names = (Object.keys(maps) as MapName[]).sort();
  return [
    "# Maps",
    "",
    notice("the compiled objects' BTF"),
    "",
    "Pinned below `<bpffs>/maps/`; `hawser map dump NAME` shows them decoded. Drawings are four bytes a row. `__be16` and `__be32` are in",
    "network order, other numbers in the machine's own; `struct hw_ip` is sixteen bytes in network order with IPv4 as `::ffff:a.b.c.d`.",
    "Padding is drawn as `0` and must be zero, because keys are compared byte by byte.",
    "",
    "| map | kind | entries | written by |",
    "|---|---|---:|---|",
    ...names.map((name) => `| [\`${name}\`](#${name}) | ${maps[name].kind} | ${maps[name].maxEntries}${maps[name].kind === "ringbuf" ? " bytes" : ""} | ${mapNotes[name][1]} |`),
    "",
    ...names.flatMap(mapSection),
  ].join("\n");
}

function mapSection(name: MapName): readonly string[] {
  const shape: (typeof maps)[MapName] = maps[name];
  const head = [`## ${name}`, "", mapNotes[name][0], ""];
  if ("inner" in shape) {
    const each = `Each of its ${shape.maxEntries} entries is a map of its own (${shape.inner.kind}), made by the agent as large as its contents need.`;
    return [...head, each, "", ...entrySection(shape.inner)];
  }
  return "key" in shape ? [...head, ...entrySection(shape)] : [...head, `Records are \`struct hw_event\`.`, ""];
}

function entrySection(shape: Pick<MapShape<unknown, unknown>, "key" | "value">): readonly string[] {
  const value = segmentsOf(shape.value, "value");
  return [
    `Key: \`${shape.key.name}\`, ${shape.key.size} bytes.`,
    "",
    "```",
    ...draw(shape.key, shape.key.name === "struct hw_ip" ? "address" : "number"),
    "```",
    "",
    `Value: \`${shape.value.name}\`, ${shape.value.size} bytes.`,
    "",
    "| byte | size | field | type |",
    "|---:|---:|---|---|",
    ...value.map((one) => `| ${one.offset} | ${one.size} | ${one.type === "padding" ? "" : `\`${one.name}\``} | ${one.type} |`),
    "",
  ];
}
