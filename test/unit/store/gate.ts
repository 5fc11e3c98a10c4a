// A door between a client and a server on loopback that a test holds shut, one way or the other, or tears down.
import { createConnection, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { once } from "node:events";
import { loopback } from "./etcd-server.ts";

export class Gate {
  readonly endpoint: string;
  readonly #host = loopback();
  readonly #server: Server;
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  #marker: { readonly text: string; readonly seen: () => void } | undefined;
  #shut = { questions: false, answers: false };
  /** How many connections came. */
  connections = 0;
  /** How many times the server said something. */
  answers = 0;

  constructor(target: string) {
    this.endpoint = `http://${this.#host}:2379`;
    const { hostname, port } = new URL(target);
    this.#server = createServer((client) => {
      this.connections++;
      const server = createConnection({ host: hostname, port: Number(port) });
      const pair = [client, server] as const;
      this.#pairs.add(pair);
      for (const one of pair) {
        one.on("error", () => undefined);
        one.on("close", () => {
          this.#pairs.delete(pair);
          for (const socket of pair) socket.destroy();
        });
      }
      client.on("data", (bytes: Buffer) => void server.write(bytes));
      let tail = "";
      server.on("data", (bytes: Buffer) => {
        tail = (tail + bytes.toString("latin1")).slice(-bytes.length - 100);
        if (this.#marker !== undefined && tail.includes(this.#marker.text)) {
          this.shut("questions");
          this.#marker.seen();
          this.#marker = undefined;
        }
        client.write(bytes);
        this.answers++;
      });
      this.#apply(pair);
    });
  }

  static async opened(target: string): Promise<Gate> {
    const gate = new Gate(target);
    gate.#server.listen(2379, gate.#host);
    await once(gate.#server, "listening");
    return gate;
  }

  /** Once an answer has held this text, questions wait; the answer itself goes on. */
  shutAfter(text: string): Promise<void> {
    return new Promise((seen) => (this.#marker = { text, seen }));
  }

  shut(...ways: readonly ("questions" | "answers")[]): void {
    for (const way of ways) this.#shut[way] = true;
    for (const pair of this.#pairs) this.#apply(pair);
  }

  open(): void {
    this.#shut = { questions: false, answers: false };
    for (const pair of this.#pairs) this.#apply(pair);
  }

  /** What stands breaks; new connections may come. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async remove(): Promise<void> {
    this.cut();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  #apply([client, server]: readonly [Socket, Socket]): void {
    if (this.#shut.questions) client.pause();
    else client.resume();
    if (this.#shut.answers) server.pause();
    else server.resume();
  }
}
