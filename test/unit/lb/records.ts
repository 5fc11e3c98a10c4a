// The balancing node's records of flows, as the programs keep them (bpf/lib/lbflows.h): buckets of eight, in which a flow of which one packet was seen never displaces one that went on.

export interface Records {
  /** The backend of the flow; 0: not recorded. `going`: this packet is not its first. */
  find(flow: number, going: boolean): number;
  /** False: there is no room. */
  record(flow: number, backend: number): boolean;
  /** How many are recorded. */
  count(): number;
}

const places = 8;

/** For flows that are numbers; `buckets` is a power of two. */
export function createRecords(buckets = 65_536): Records {
  const [flows, backends, wentOn] = [new Uint32Array(buckets * places), new Uint16Array(buckets * places), new Uint8Array(buckets * places)];
  const first = (flow: number): number => (mixed(flow) & (buckets - 1)) * places;
  const placeOf = (flow: number): number => {
    const start = first(flow);
    for (let at = start; at < start + places; at++) if (flows[at] === flow + 1) return at;
    return -1;
  };
  return {
    find: (flow, going) => {
      const at = placeOf(flow);
      if (at < 0) return 0;
      if (going) wentOn[at] = 1;
      return backends[at] as number;
    },
    record: (flow, backend) => {
      const start = first(flow);
      let chosen = placeOf(flow);
      for (let at = start; chosen < 0 && at < start + places; at++) if (flows[at] === 0) chosen = at;
      for (let at = start; chosen < 0 && at < start + places; at++) if (wentOn[at] === 0) chosen = at;
      if (chosen < 0) return false;
      [flows[chosen], backends[chosen], wentOn[chosen]] = [flow + 1, backend, 0];
      return true;
    },
    count: () => flows.reduce((sum, flow) => sum + (flow === 0 ? 0 : 1), 0),
  };
}

function mixed(value: number): number {
  let x = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
