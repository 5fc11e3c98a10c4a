// Sockets as clients of services, in the host's namespace and the containers': who they are, and the end of those whose backend is gone.
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { ClientsPlan } from "../network/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { familyOf } from "../std/ip.ts";
import type { Family, Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { endSockets } from "./end-sockets.ts";
import type { GoneBackend } from "./end-sockets.ts";
import { openHomes } from "./homes.ts";
import type { HostFacts } from "./types.ts";

export interface Clients extends AsyncDisposable {
  /** Where clients are, whole. */
  install(plan: ClientsPlan): void;
  /** A device or an address came, went or moved: containers that Docker had not made yet are looked for again. */
  hostChanged(): void;
  /** Ends the sockets that were led to these, soon. */
  end(gone: readonly GoneBackend[]): void;
  /** Whether this kernel ends sockets for others, as far as it has been asked. */
  readonly endsSockets: boolean;
}

export interface ClientsSurroundings {
  readonly kernel: Pick<Kernel, "netnsCookie">;
  readonly maps: ReadonlyMap<string, KernelMap>;
  readonly facts: () => HostFacts;
  readonly log: Log;
}

/** Milliseconds for all namespaces together: who is not asked by then notices by itself. */
const endingTime = 20_000;

export function createClients({ kernel, maps, facts, log }: ClientsSurroundings): Clients {
  const map = maps.get("hw_lb_homes");
  if (map === undefined) throw new HawserError("INTERNAL", "sock-lb is not loaded");
  const homes = openHomes(kernel, map);
  const life = new AbortController();
  let plan: ClientsPlan = { known: false, namespaces: [] };
  let [own, complete, endsSockets] = ["", true, true];
  let due: { readonly gone: readonly GoneBackend[]; readonly namespaces: readonly (string | undefined)[] }[] = [];
  let working: Promise<void> | undefined;

  const writeHomes = (): void => {
    own = facts().uplinkAddresses.join(" ");
    const first = (family: Family): Ip | null => facts().uplinkAddresses.find((address) => familyOf(address) === family) ?? null;
    const all = [{ namespace: undefined, ipv4: first(4), ipv6: first(6) }, ...plan.namespaces.map(({ sandbox, ipv4, ipv6 }) => ({ namespace: sandbox, ipv4, ipv6 }))];
    try {
      complete = homes.sync(plan.known ? all : []);
    } catch (error) {
      complete = false;
      log.warn("services with sources do not know all their clients on this node, and refuse those that they do not know", { why: messageOf(error) });
    }
  };

  const work = async (): Promise<void> => {
    while (due.length > 0 && endsSockets && !life.signal.aborted) {
      const [gone, namespaces] = [due.flatMap((one) => one.gone), due.flatMap((one) => one.namespaces)];
      due = [];
      try {
        const ended = await endSockets(maps, namespaces, gone, AbortSignal.any([life.signal, AbortSignal.timeout(endingTime)]));
        if (ended > 0) log.info("ended sockets whose backend is gone", { sockets: ended, backends: gone.length });
      } catch (error) {
        endsSockets = !(error instanceof HawserError && error.code === "UNSUPPORTED");
        log.warn("sockets whose backend is gone were not all ended", { error });
      }
    }
    working = undefined;
  };

  return {
    install: (next) => {
      plan = next;
      writeHomes();
    },
    hostChanged: () => {
      if (plan.known && !(complete && own === facts().uplinkAddresses.join(" "))) writeHomes();
    },
    end: (gone) => {
      due.push({ gone, namespaces: [undefined, ...plan.namespaces.map(({ sandbox }) => sandbox)] });
      working ??= work();
    },
    get endsSockets() {
      return endsSockets;
    },
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await working;
    },
  };
}
