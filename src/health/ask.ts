// One probe of one target: a TCP connection, and over it at most one HTTP request.
import { connect } from "node:net";
import type { Socket } from "node:net";
import { familyOf } from "../std/ip.ts";
import { createAnswerReader } from "./answer.ts";
import type { Verdict } from "./answer.ts";
import type { Asked } from "./types.ts";

export interface Probe {
  /** Ends it. @returns what is known by now; `done` is not called any more */
  stop(): Verdict;
}

/** Starts a probe. `done` is called once, later, unless the probe is stopped before. */
export type Ask = (target: Asked, done: (verdict: Verdict) => void) => Probe;

/** Errors of a socket that say nothing of whom it was for: this node has no more descriptors, ports or memory. */
const ownTrouble: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL", "EADDRINUSE"]);

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EPIPE: "connection reset",
  EHOSTUNREACH: "no such host on its network",
  ENETUNREACH: "no route to it",
  ETIMEDOUT: "no answer",
  EPERM: "this host's firewall forbids it",
  EACCES: "this host's firewall forbids it",
  EADDRNOTAVAIL: "this node has no address of its own for it, or no port left",
  EMFILE: "this node's agent has no descriptors left",
};

const bufferBytes = 16 * 1024;

/** Sockets read into one buffer, one after the other, so that thousands of them cost no memory of their own for it. */
export function createAsk(): Ask {
  const buffer = Buffer.allocUnsafeSlow(bufferBytes);
  return (target, done) => {
    const { address, port, kind, timeout } = target;
    const reader = kind === "http" ? createAnswerReader() : undefined;
    let open = true;
    const finish = (verdict: Verdict): void => {
      if (!open) return;
      open = false;
      close(socket);
      done(verdict);
    };
    const socket = connect({
      host: address, port, family: familyOf(address), autoSelectFamily: false, noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          if (open && reader?.read(buffer.subarray(0, length)) === false) finish(reader.verdict() ?? unanswered(timeout));
          return open;
        },
      },
    });
    socket.on("error", (error: NodeJS.ErrnoException) => finish(reader?.verdict() ?? failed(error)));
    socket.on("connect", () => {
      // Nobody listens, and the kernel gave the probe the very port that it asks for (RFC 9293, 3.5: simultaneous open).
      if (socket.localPort === port && socket.localAddress === address) finish({ ok: false, why: "connection refused" });
      else if (reader === undefined) finish({ ok: true, why: "connected" });
      else socket.write(request(target));
    });
    socket.on("end", () => finish(reader?.verdict() ?? { ok: false, why: "closed before it answered" }));
    return {
      stop: () => {
        open = false;
        const connected = !socket.connecting;
        close(socket);
        return reader?.verdict() ?? unanswered(timeout, connected);
      },
    };
  };
}

function request({ address, port, path }: Asked): string {
  const host = familyOf(address) === 6 ? `[${address}]` : address;
  return `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: hawser-health\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
}

/** By a reset, which leaves no TIME_WAIT at either end, unless the other end has closed already, which then has it. */
function close(socket: Socket): void {
  if (socket.connecting || socket.readableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** How the reason begins when nobody answered a probe's packets at all. */
export const silence = "no answer in ";

function unanswered(timeout: number, connected = true): Verdict {
  return { ok: false, why: `${connected ? `connected, but ${silence}` : silence}${timeout} ms` };
}

function failed({ code = "", message }: NodeJS.ErrnoException): Verdict {
  return { ok: ownTrouble.has(code) ? null : false, why: words[code] ?? message };
}
