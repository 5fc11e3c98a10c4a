// One netlink conversation: requests go out one at a time, and each gets its own answer by sequence number.
import { addon } from "../addon.ts";
import type { NativeNetlink } from "../addon.ts";
import { asKernelError, closedError, kernelCall, KernelError } from "../errors.ts";
import { decodeMessages, decodeOutcome, encodeMessage, nlmFlags, nlmsg } from "./codec.ts";
import type { Message } from "./codec.ts";
import { netlinkOptions, netlinkRoute, solNetlink } from "./rtnetlink.ts";

/** A dump during which the kernel's tables changed is asked again. */
const dumpAttempts = 5;

interface Pending {
  readonly seq: number;
  readonly what: string;
  readonly payloads: Buffer[];
  interrupted: boolean;
  readonly resolve: (answer: { payloads: Buffer[]; interrupted: boolean }) => void;
  readonly reject: (error: unknown) => void;
}

export class NetlinkSocket {
  readonly #socket: NativeNetlink;
  #pending: Pending | undefined;
  /** The kernel allows one dump a socket: later requests wait for earlier ones. */
  #turn: Promise<unknown> = Promise.resolve();
  #seq = 0;
  #closed = false;

  /** @param netnsPath the namespace to speak to; the caller's own when left out. @param protocol NETLINK_…: rtnetlink when left out. */
  constructor(netnsPath?: string, protocol: number = netlinkRoute) {
    this.#socket = kernelCall(
      () => new (addon().NetlinkSocket)(netnsPath, protocol, (error, datagrams) => this.#receive(error, datagrams)),
    );
    for (const option of [netlinkOptions.capAck, netlinkOptions.extAck, netlinkOptions.strictCheck]) {
      this.#socket.setOption(solNetlink, option, 1);
    }
    this.#socket.unref(); // an idle conversation keeps no process alive
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** A change: resolves when the kernel has done it. @throws KernelError naming `what`. */
  async change(what: string, type: number, flags: number, parts: readonly Uint8Array[]): Promise<void> {
    await this.#inTurn(what, () => this.#exchange(what, type, nlmFlags.request | nlmFlags.ack | flags, parts));
  }

  /** One object. */
  async get(what: string, type: number, parts: readonly Uint8Array[]): Promise<Buffer | undefined> {
    const answer = await this.#inTurn(what, () => this.#exchange(what, type, nlmFlags.request | nlmFlags.ack, parts));
    return answer.payloads[0];
  }

  /** All objects of a kind. */
  async dump(what: string, type: number, parts: readonly Uint8Array[]): Promise<readonly Buffer[]> {
    return this.#inTurn(what, async () => {
      for (let attempt = 1; ; attempt++) {
        const answer = await this.#exchange(what, type, nlmFlags.request | nlmFlags.dump, parts);
        if (!answer.interrupted || attempt === dumpAttempts) return answer.payloads;
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    this.#settle()?.reject(closedError("netlink"));
  }

  async #inTurn<T>(what: string, work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => {
      if (this.#closed) throw closedError(what);
      return work();
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #exchange(
    what: string, type: number, flags: number, parts: readonly Uint8Array[],
  ): Promise<{ payloads: Buffer[]; interrupted: boolean }> {
    return new Promise((resolve, reject) => {
      const seq = (this.#seq = (this.#seq + 1) >>> 0);
      this.#pending = { seq, what, payloads: [], interrupted: false, resolve, reject };
      try {
        this.#socket.ref();
        this.#socket.send(encodeMessage(type, flags, seq, parts));
      } catch (error) {
        this.#settle();
        reject(asKernelError(error));
      }
    });
  }

  #receive(error: Error | undefined, datagrams: readonly Uint8Array[]): void {
    for (const datagram of datagrams) for (const message of decodeMessages(datagram)) this.#take(message);
    if (error) this.#settle()?.reject(asKernelError(error));
  }

  #take(message: Message): void {
    const pending = this.#pending;
    if (!pending || message.seq !== pending.seq) return; // an answer to what nobody waits for any more
    if (message.flags & nlmFlags.dumpInterrupted) pending.interrupted = true;
    if (message.type !== nlmsg.error && message.type !== nlmsg.done) {
      pending.payloads.push(message.payload);
      return;
    }
    this.#settle();
    const { error, detail } = decodeOutcome(message);
    if (error === 0) pending.resolve(pending);
    else pending.reject(new KernelError(error, pending.what, detail));
  }

  #settle(): Pending | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending && !this.#closed) this.#socket.unref();
    return pending;
  }
}
