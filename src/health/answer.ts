// Reads of an HTTP answer what a probe wants to know: its status (RFC 9112, 4).

/** `ok` null: the probe was not asked, for a reason of this node's own, and nothing is known. */
export interface Verdict {
  readonly ok: boolean | null;
  /** For people. */
  readonly why: string;
}

export interface AnswerReader {
  /** What is known after `bytes` more. @returns whether more is worth reading */
  read(bytes: Buffer): boolean;
  /** undefined: not known yet. */
  verdict(): Verdict | undefined;
}

/** Bytes of headers before the final status, and of an answer in all. */
const headersMost = 16 * 1024;
const answerMost = 64 * 1024;

const statusLine = /^HTTP\/1\.\d ([1-9]\d\d)[ \r\n]/;
const start = "HTTP/1.";
/** Up to where it can be told that there is a status line, or none. */
const statusLength = "HTTP/1.1 200 ".length;

/** Skips what comes before the final answer (100…199) but for 101, which nobody asked for. Any body will do, and is not kept. */
export function createAnswerReader(): AnswerReader {
  let head = "";
  let total = 0;
  let verdict: Verdict | undefined;
  const judge = (): Verdict | undefined => {
    for (;;) {
      if (!head.startsWith(start.slice(0, head.length))) return { ok: false, why: "answers, but not in HTTP" };
      if (head.length < statusLength) return undefined;
      const status = Number(statusLine.exec(head)?.[1]);
      if (Number.isNaN(status)) return { ok: false, why: "answers, but not in HTTP" };
      if (status >= 200 || status === 101) return { ok: status >= 200 && status < 400, why: `HTTP ${status}` };
      const end = /\r?\n\r?\n/.exec(head);
      if (end === null) return undefined;
      head = head.slice(end.index + end[0].length);
    }
  };
  return {
    read: (bytes) => {
      total += bytes.length;
      if (verdict === undefined) {
        head += bytes.toString("latin1");
        verdict = judge() ?? (total > headersMost ? { ok: false, why: `no status within ${headersMost} bytes` } : undefined);
        if (verdict !== undefined) head = "";
      }
      return verdict === undefined || (verdict.ok === true && total < answerMost);
    },
    verdict: () => verdict,
  };
}
