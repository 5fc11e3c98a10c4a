// What pinned maps of earlier versions' shapes held, as this version has it: only what packets of standing flows need before it is written again.
import { lbBackendCodec, lbPlaceCodec } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { familyOf } from "../std/ip.ts";

/** Copies into new maps, which nobody uses yet, and may do so again; what it has no copy for stays empty. */
export function inherit(name: string, former: KernelMap, mapOf: (name: string) => KernelMap | undefined): void {
  const [backends, places] = [mapOf("hw_lb_backends"), mapOf("hw_lb_places")];
  if (name === "hw_lb_backends" && former.info.valueSize === wholeBackend && backends !== undefined && places !== undefined) splitBackends(former, backends, places);
}

/** Bytes of a backend that had its place in it: `address` 0, `outer` 16, `port` 32, `mode` 34, `flags` 35, and what programs find again. */
const wholeBackend = 64;

function splitBackends(former: KernelMap, backends: KernelMap, places: KernelMap): void {
  const [placed, reached]: [[Uint8Array, Uint8Array][], [Uint8Array, Uint8Array][]] = [[], []];
  for (const [key, value] of former.filled()) {
    const place = value.slice(0, lbPlaceCodec.size);
    const { outer } = lbPlaceCodec.decode(place);
    const backend = new Uint8Array(lbBackendCodec.size);
    if (outer !== null && familyOf(outer) === 4) backend.set(value.subarray(28, 32));
    backend.set(value.subarray(32, 36), 4);
    placed.push([key.slice(), place]);
    reached.push([key.slice(), backend]);
  }
  places.setBatch(placed);
  backends.setBatch(reached);
}
