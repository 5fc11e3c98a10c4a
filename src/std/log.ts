// Log lines as JSON, one a line, to whatever sink main hands in.
import { messageOf } from "./errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose every line carries these fields too. */
  with(fields: LogFields): Log;
}

const order: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** `write` takes one finished line without its newline; `now` is milliseconds since the epoch. */
export function createLog(
  write: (line: string) => void,
  now: () => number,
  least: LogLevel = "info",
  bound: LogFields = {},
): Log {
  const emit = (level: LogLevel, message: string, fields?: LogFields): void => {
    if (order[level] < order[least]) return;
    const head = { time: new Date(now()).toISOString(), level, message };
    write(render({ ...head, ...bound, ...fields, ...head }, head));
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLog(write, now, least, { ...bound, ...fields }),
  };
}

/** A field that cannot be written (one that refers to itself) must not cost the line. */
function render(record: LogFields, head: LogFields): string {
  try {
    return JSON.stringify(record, plain);
  } catch (error) {
    return JSON.stringify({ ...head, unwritable: messageOf(error) });
  }
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return messageOf(value);
  return value;
}
