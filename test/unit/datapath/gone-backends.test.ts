// Which sockets lead nowhere: the difference between two sets of plans, by service address and backend.
import test from "ava";
import { goneBackends } from "../../../src/datapath/gone-backends.ts";
import { atOnce } from "../../../src/std/sliced.ts";
import type { BackendState, Frontend, ServicePlan } from "../../../src/lb/types.ts";

function plan(name: string, frontends: readonly string[], ...backends: readonly (readonly [address: string, state?: BackendState])[]): ServicePlan {
  return {
    name, frontends: frontends.map((text) => {
      const [address, port, protocol] = text.split(" ");
      return { address, port: Number(port), protocol } as Frontend;
    }),
    backends: backends.map(([address, state = "active"]) => ({ address, port: 8080, state })),
  } as unknown as ServicePlan;
}

const gone = (before: readonly ServicePlan[], after: readonly ServicePlan[]): readonly string[] =>
  atOnce(goneBackends(before, after)).map(({ protocol, address, port, through = [] }) => `${protocol} ${address}:${port} by ${through.map((one) => `${one.address}:${one.port}`).join(" ")}`);
const [one, two] = ["10.44.0.2", "10.44.0.3"];

test("a backend that drains is not gone; when it is, it is by every address of its service", (t) => {
  const before = plan("web", ["203.0.113.1 80 tcp", "203.0.113.2 80 tcp", "203.0.113.1 80 udp"], [one], [two]);
  t.deepEqual(gone([before], [plan("web", ["203.0.113.1 80 tcp", "203.0.113.2 80 tcp", "203.0.113.1 80 udp"], [one], [two, "draining"])]), []);
  t.deepEqual(gone([before], [plan("web", ["203.0.113.1 80 tcp", "203.0.113.2 80 tcp", "203.0.113.1 80 udp"], [one])]),
    [`tcp ${two}:8080 by 203.0.113.1:80 203.0.113.2:80`, `udp ${two}:8080 by 203.0.113.1:80`]);
});

test("a service that is deleted, and an address that is struck out, lead nowhere; what another service takes over does", (t) => {
  const web = plan("web", ["203.0.113.1 80 tcp", "203.0.113.2 80 tcp"], [one]);
  const same = plan("same", ["203.0.113.3 80 tcp"], [one]);
  t.deepEqual(gone([web, same], [same]), [`tcp ${one}:8080 by 203.0.113.1:80 203.0.113.2:80`]);
  t.deepEqual(gone([web, same], [plan("web", ["203.0.113.2 80 tcp"], [one]), same]), [`tcp ${one}:8080 by 203.0.113.1:80`]);
  t.deepEqual(gone([web, same], [plan("new", ["203.0.113.1 80 tcp", "203.0.113.2 80 tcp"], [one]), same]), []);
  t.deepEqual(gone([], [web]), []);
});

test("SCTP has no sockets that are led", (t) => {
  t.deepEqual(gone([plan("web", ["203.0.113.1 80 sctp"], [one])], []), []);
});

test("of services that share their backends the addresses are told once for all of them", (t) => {
  const { backends } = plan("", [], [one], [two]);
  const all = Array.from({ length: 1000 }, (_, i) => ({ ...plan(`s${i}`, [`203.0.${i >> 8}.${i & 255} 80 tcp`]), number: i, backends }));
  const [first, second] = atOnce(goneBackends(all, []));
  t.is(first?.through?.length, 1000);
  t.is(first?.through, second?.through);
});
