// Hubble's observer service as bytes: its messages are code that an agent nobody observes need not hold in memory.
import { once } from "node:events";
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream, ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Log } from "../../std/log.ts";
import { errorToStatus } from "../errors.ts";
import type { ApiQueries } from "../types.ts";

const bytes = (value: Buffer): Buffer => value;
const asBytes = { requestStream: false, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } as const;

export const observerDefinition: ServiceDefinition = {
  getFlows: { path: "/observer.Observer/GetFlows", responseStream: true, ...asBytes },
  serverStatus: { path: "/observer.Observer/ServerStatus", responseStream: false, ...asBytes },
};

export function observerHandlers(queries: ApiQueries, log: Log): UntypedServiceImplementation {
  return {
    getFlows: (call: ServerWritableStream<Buffer, Buffer>) => {
      stream(call, queries).catch((error: unknown) => {
        if (call.cancelled) return;
        const rendered = errorToStatus(error);
        log.warn("a call failed", { call: call.getPath(), error: rendered.details });
        call.emit("error", rendered);
      });
    },
    serverStatus: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const settle = async (): Promise<void> => {
        let reply: Buffer;
        try {
          const { serverStatus } = await import("./serve.ts");
          reply = await serverStatus(queries);
        } catch (error) {
          return done(errorToStatus(error));
        }
        done(null, reply);
      };
      void settle();
    },
  };
}

/** Writes no faster than the client reads; what it misses meanwhile, the engine drops. */
async function stream(call: ServerWritableStream<Buffer, Buffer>, queries: ApiQueries): Promise<void> {
  const gone = new AbortController();
  call.on("cancelled", () => gone.abort());
  const { flowMessages } = await import("./serve.ts");
  for await (const message of flowMessages(call.request, queries, gone.signal)) {
    if (call.cancelled) return;
    if (!call.write(message)) await once(call, "drain", { signal: gone.signal });
  }
  if (!call.cancelled) call.end();
}
