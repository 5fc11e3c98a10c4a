// Questions to a child process over its IPC channel: one at a time, in order.
import type { ChildProcess } from "node:child_process";

/** Rejects with what the child said went wrong, or when it ended. */
export function asker<Request>(child: ChildProcess): (request: Request) => Promise<unknown> {
  let last: Promise<unknown> = Promise.resolve();
  const once = (request: Request): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the bench ended with ${code}`));
      child.once("exit", ended);
      child.once("message", (reply: { readonly value?: unknown; readonly error?: string }) => {
        child.off("exit", ended);
        if (reply.error === undefined) resolve(reply.value);
        else reject(new Error(reply.error));
      });
      child.send(request as object);
    });
  return (request) => {
    const next = last.then(() => once(request));
    last = next.catch(() => undefined);
    return next;
  };
}
