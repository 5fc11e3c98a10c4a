// Sockets of a network namespace by the address that they are connected to, and their end: sock_diag(7), linux/inet_diag.h.
//
//   request   family u8 │ protocol u8 │ ext u8 │ 0 │ states u32 │ id 48 │ attributes
//   answer    family u8 │ state u8 │ timer u8 │ retrans u8 │ id 48 │ five u32 │ attributes
//   id        own port be16 │ other port be16 │ own address 16 │ other address 16 │ device u32 │ cookie u64
//   filter    op │ yes │ no u16 │ family u8 │ prefix u8 │ 0 0 │ port u32 │ address       runs in the kernel, on every socket
import { familyOf, ipFromBytes, ipToBytes, parseIp } from "../../std/ip.ts";
import type { Ip } from "../../std/ip.ts";
import { errno, refusedWith } from "../errors.ts";
import type { KernelMap, RemoteEnd, SocketList, SocketRow } from "../types.ts";
import { attribute, decodeAttributes, listAttributes, nested, u32Of } from "./codec.ts";
import { familyNumbers } from "./rtnetlink.ts";
import { NetlinkSocket } from "./socket.ts";

const netlinkSockDiag = 4;
const sockDiag = { byFamily: 20, destroy: 21 } as const;
const request = { bytecode: 1, storages: 2 } as const;
const answer = { storages: 20 } as const;
/** SK_DIAG_BPF_STORAGE and what is in it. */
const storage = { one: 1, mapId: 2, mapValue: 3 } as const;
const protocols = { tcp: 6, udp: 17 } as const;
const [idSize, idAt, answerHeader] = [48, 4, 72];
const operation = { jump: 1, otherEnd: 8 } as const;
/** What one filter holds: its jumps have 16 bits. */
const endsPerFilter = 1000;

/** enum in net/tcp_states.h. Of UDP a connected socket is established. */
const established = 1;
/** Those that have a socket of a program's: not TIME_WAIT, CLOSE, LISTEN and SYN_RECV. */
const tcpStates = [1, 2, 4, 5, 8, 9, 11].reduce((mask, state) => mask | (1 << state), 0);

/** @param netnsPath as of openNetlink */
export function openSocketList(netnsPath?: string): SocketList {
  const socket = new NetlinkSocket(netnsPath, netlinkSockDiag);
  return {
    connectedTo: async (protocol, ends, map) => {
      const rows: SocketRow[] = [];
      for (let from = 0; from < ends.length; from += endsPerFilter) {
        // An IPv6 socket may be connected to an IPv4 address; the filter knows.
        for (const family of [familyNumbers.inet, familyNumbers.inet6]) rows.push(...(await list(socket, family, protocol, ends.slice(from, from + endsPerFilter), map)));
      }
      return rows;
    },
    end: async ({ protocol, id }) => {
      const family = id[idSize] ?? 0;
      try {
        await socket.change("end a socket", sockDiag.destroy, 0, [header(family, protocol, 0, id.subarray(0, idSize))]);
        return true;
      } catch (error) {
        if (refusedWith(error, errno.ENOENT)) return false;
        throw error;
      }
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

async function list(socket: NetlinkSocket, family: number, protocol: SocketRow["protocol"], ends: readonly RemoteEnd[], map: KernelMap): Promise<readonly SocketRow[]> {
  const wanted = ends.map(({ address, port }) => ({ address: parseIp(address), port })).filter(({ address }) => family === familyNumbers.inet6 || familyOf(address) === 4);
  if (wanted.length === 0) return [];
  const states = protocol === "tcp" ? tcpStates : 1 << established;
  const payloads = await socket.dump("list sockets", sockDiag.byFamily, [
    header(family, protocol, states, new Uint8Array(idSize)), attribute(request.bytecode, filterOf(wanted)), nested(request.storages, []),
  ]);
  return payloads.map((payload) => rowOf(payload, protocol, map.info.id));
}

function header(family: number, protocol: SocketRow["protocol"], states: number, id: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8 + idSize);
  bytes[0] = family;
  bytes[1] = protocols[protocol];
  bytes.writeUInt32LE(states, 4);
  bytes.set(id, 8);
  return bytes;
}

/** One after the other: whichever matches jumps to the end, and the last that does not jumps beyond it, which is a no. */
function filterOf(ends: readonly { readonly address: Ip; readonly port: number }[]): Buffer {
  const conditions = ends.map(({ address, port }) => {
    const bytes = ipToBytes(address);
    const condition = Buffer.alloc(12 + bytes.length);
    condition[0] = operation.otherEnd;
    condition[1] = condition.length;
    condition[4] = bytes.length === 4 ? familyNumbers.inet : familyNumbers.inet6;
    condition[5] = 8 * bytes.length;
    condition.writeInt32LE(port, 8);
    condition.set(bytes, 12);
    condition.writeUInt16LE(condition.length + 4, 2);
    return condition;
  });
  let rest = conditions.at(-1)?.length ?? 0;
  const parts: Buffer[] = conditions.slice(-1);
  for (const condition of conditions.slice(0, -1).reverse()) {
    const jump = Buffer.from([operation.jump, 4, 0, 0]);
    jump.writeUInt16LE(rest + 4, 2);
    parts.unshift(condition, jump);
    rest += condition.length + 4;
  }
  return Buffer.concat(parts);
}

function rowOf(payload: Buffer, protocol: SocketRow["protocol"], map: number): SocketRow {
  const id = payload.subarray(idAt, idAt + idSize);
  const mapped = id.subarray(20, 32).equals(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]));
  const four = payload[0] === familyNumbers.inet ? id.subarray(20, 24) : mapped ? id.subarray(32, 36) : undefined;
  const kept = listAttributes(decodeAttributes(payload, answerHeader).get(answer.storages) ?? Buffer.alloc(0))
    .filter(([type]) => type === storage.one)
    .map(([, one]) => decodeAttributes(one))
    .find((one) => u32Of(one.get(storage.mapId)) === map);
  return {
    protocol, address: ipFromBytes(four ?? id.subarray(20, 36)), port: id.readUInt16BE(2), cookie: id.readBigUInt64LE(40), kept: kept?.get(storage.mapValue),
    id: Buffer.concat([id, payload.subarray(0, 1)]),
  };
}
