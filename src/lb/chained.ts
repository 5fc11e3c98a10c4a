// Services of which one leads to another's address: no packet comes through both, and probes find the second one well all the same.
import { familyOf } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Problem } from "../yaml/problems.ts";
import { placeText } from "../yaml/render.ts";
import { endText } from "./fields.ts";
import { frontendText } from "./read.ts";
import type { BackendRule, Service, WrittenFrontend } from "./types.ts";

type Named = Extract<BackendRule, { readonly kind: "address" }>;

interface Found<One> {
  readonly service: Service;
  readonly one: One;
}

/**
 * What is wrong with services of these `names` for that, among all; each pair of services is told once for an address. `isHosts`: whether programs of a
 * node have that address too, so that only the ports of services are theirs.
 */
export function* findChained(services: readonly Service[], names: ReadonlySet<string>, isHosts: (address: Ip) => boolean): Sliced<readonly Problem[]> {
  const frontends = new Map<Ip, Found<WrittenFrontend>[]>();
  const backends = new Map<Ip, Found<Named>[]>();
  for (const service of services) {
    if (!names.has(service.name)) continue;
    for (const one of service.frontends) put(frontends, one.address, { service, one });
    for (const one of service.backends) if (one.kind === "address") put(backends, one.address, { service, one });
    yield;
  }
  const problems: Problem[] = [];
  for (const service of services) {
    const isNew = names.has(service.name);
    for (const rule of service.backends) {
      if (rule.kind !== "address") continue;
      const there = frontends.get(rule.address)?.find(({ service: other, one }) => meets({ service, one: rule }, { service: other, one }, isHosts));
      if (there === undefined) continue;
      problems.push(isNew ? atBackend(rule, there) : atFrontend(there.one, { service, one: rule }));
    }
    if (!isNew) {
      const told = new Set<Found<Named>>();
      for (const frontend of service.frontends) {
        for (const led of backends.get(frontend.address) ?? []) {
          if (told.has(led) || !meets(led, { service, one: frontend }, isHosts)) continue;
          told.add(led);
          problems.push(atBackend(led.one, { service, one: frontend }));
        }
      }
    }
    yield;
  }
  return problems;
}

function put<One>(map: Map<Ip, Found<One>[]>, address: Ip, found: Found<One>): void {
  const those = map.get(address);
  if (those === undefined) map.set(address, [found]);
  else those.push(found);
}

/** Of an address that is services' alone every port is, also those on which none is. */
function meets({ service, one: { address, port } }: Found<Named>, { service: other, one }: Found<WrittenFrontend>, isHosts: (address: Ip) => boolean): boolean {
  if (other === service || other.name === service.name || one.address !== address) return false;
  return !isHosts(address) || (one.port === port && service.frontends.some((own) => own.protocol === one.protocol && familyOf(own.address) === familyOf(address)));
}

function atBackend(rule: Named, { service, one }: Found<WrittenFrontend>): Problem {
  return { place: rule.place, message: `${endText(rule)} is at the address of service ${service.name} (${frontendText(one)} at ${placeText(one.place)}), and no service leads to another; name the backends of ${service.name} here` };
}

function atFrontend(frontend: WrittenFrontend, { service, one }: Found<Named>): Problem {
  return { place: frontend.place, message: `${frontend.address} is a backend of service ${service.name} (${endText(one)} at ${placeText(one.place)}), and no service leads to another; give this one another address, or take that backend out there` };
}
