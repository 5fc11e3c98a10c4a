// Why a packet was dropped, as a sentence for people: one for every reason the programs know, or this does not compile.
import { dropReasonNames } from "./generated.ts";
import type { DropReasonName } from "./generated.ts";

export const reasonSentences: Readonly<Record<DropReasonName, string>> = {
  NONE: "The packet was not dropped.",
  UNKNOWN_ENDPOINT: "The device belongs to no endpoint that the datapath knows (yet, or any more).",
  MALFORMED: "The packet is shorter than its headers say, or its headers contradict each other.",
  INVALID_SOURCE_MAC: "The container sent a frame with a source MAC address that is not its own.",
  INVALID_SOURCE_IP: "The container sent a packet with a source address that is not its own.",
  INVALID_ARP: "The container sent an ARP message in another name than its own, or a container of ours other than a question.",
  INVALID_ND: "The container sent a neighbour discovery message in another name than its own, or a container of ours other than a solicitation.",
  ROUTER_ADVERTISEMENT: "The container sent a router advertisement, router solicitation or redirect.",
  IPV6_OFF: "The network has no IPv6, so no IPv6 frame may pass.",
  MULTICAST: "The destination is a multicast or broadcast address, and no rule of the policy opens it for the container.",
  UNKNOWN_PROTOCOL: "The frame is neither IPv4, IPv6 nor ARP, or its protocol is one that cannot be tracked.",
  NETWORK_ISOLATED: "The destination is a container on another network.",
  ICC_DISABLED: "The network keeps its containers from talking to one another (enable_icc=false).",
  INTERNAL_NETWORK: "The network is internal: nothing leaves it and nothing from outside enters it.",
  DIRECT_ACCESS: "Something outside, or forwarded by the host, addressed a container directly instead of a published port.",
  MARTIAN: "A packet bears an address that nobody can have there: of loopback, of the host or a container from the wire, or IPv4-mapped in IPv6.",
  NO_SUCH_ADDRESS: "The address lies in a network's subnet, but no endpoint has it.",
  NO_ROUTE: "The host has no route to the destination.",
  NOT_AN_UPLINK: "The host's route to the destination leaves by a device that is no uplink of Hawser's.",
  NO_SNAT_ADDRESS: "The flow must be masqueraded, or wrapped for a service's backend, but there is no address of that family to do it with.",
  NAT_PORTS_EXHAUSTED: "No free source port was found for the flow; too many flows go to the same destination, or to the same backend of a service.",
  CT_INSERT_FAILED: "The flow could not be remembered in the conntrack table.",
  FRAGMENT_WITHOUT_FIRST: "A later fragment came whose first fragment was not seen.",
  ICMP_WITHOUT_FLOW: "An ICMP error speaks of a flow that nobody has.",
  MTU_EXCEEDED: "The packet is larger than the MTU of the container's device, or, with its outer headers, of the way to a service's backend.",
  REWRITE_FAILED: "The packet's addresses or ports could not be rewritten.",
  INVALID_OPTIONS: "The packet has source-route options or too many extension headers.",
  ENCAP_PROHIBITED: "The container sent tunnel traffic to the host or the world: what leaves in the host's name, other hosts would trust.",
  EVENT_LOST: "Not a packet: an event about a dropped packet that did not fit the ring, or its device's share of it, any more.",
  POLICY_DENIED: "A deny rule of the policy forbids it; the record names the rule.",
  POLICY_DEFAULT_OUT: "No rule allows it, and the sender's default.out is deny.",
  POLICY_DEFAULT_IN: "No rule allows it, and the receiver's default.in is deny.",
  POLICY_PUBLISHED: "No policy covers the container whose published port was asked for, and policy.published is deny.",
  POLICY_MISSING: "The policy's tables are not in the kernel, or do not know the container: what is not known is not allowed.",
  NOT_IDENTIFIED: "The container's labels are not known yet (policy.untilIdentified is deny).",
  UNKNOWN_PEER: "A tunnel packet came from an address that is no node's; the record names the sender.",
  PEER_ADDRESS: "A node sent a tunnel packet in the name of a container, or a node, that is not its own.",
  PEER_IDENTITY: "A node sent a tunnel packet with an identity, or for a network, that its container does not have.",
  NO_SUCH_NODE: "The address is of the pool, and no node is known to have it.",
  SERVICE_PORT: "No service has that port of its address; who asked was told so at once.",
  SERVICE_EMPTY: "The service has no backend that could take it; who asked was told so at once.",
  SERVICE_SOURCE: "The client is not among those that may use the service (its sources).",
  SERVICE_PROTOCOL: "A service's address was sent something that is not TCP, UDP or SCTP, no echo request and no error about a flow of its.",
  TTL_EXCEEDED: "The packet had used up its hops on the way to a service's backend, or from one; who sent it was told so by XDP.",
};

/** The name of a reason as programs write it; one that this build does not know keeps its number. */
export function reasonName(reason: number): string {
  return dropReasonNames[reason] ?? `REASON_${reason}`;
}

/** The sentence of a reason, for people. */
export function reasonSentence(reason: number): string {
  const name = dropReasonNames[reason];
  return name === undefined ? `A reason this build does not know (${reason}).` : reasonSentences[name];
}
