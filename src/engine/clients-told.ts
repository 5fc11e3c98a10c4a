// What the datapath was told of services' clients last: it is told again when that is another.
import type { Datapath } from "../datapath/types.ts";
import { sameClients, serviceClients } from "../network/service-clients.ts";
import type { ClientsPlan, State } from "../network/types.ts";
import { perform } from "./commit.ts";

export class ClientsTold {
  readonly #datapath: Pick<Datapath, "doers">;
  #clients: ClientsPlan | null = null;

  constructor(datapath: Pick<Datapath, "doers">) {
    this.#datapath = datapath;
  }

  /**
   * Before services that ask for them, because who is not known is refused, and after the last has gone, whose sockets are looked for there.
   * `asks`: whether one of the services does.
   */
  async tell(services: readonly unknown[], state: State, asks: boolean): Promise<void> {
    const before = this.#clients;
    if (services.length === 0 && before === null) return;
    const clients = services.length === 0 ? { known: false, namespaces: [] } : serviceClients(state, asks);
    if (sameClients(before, clients)) return;
    await perform([{ kind: "clients", clients, before }], this.#datapath.doers);
    this.#clients = services.length === 0 ? null : clients;
  }
}
