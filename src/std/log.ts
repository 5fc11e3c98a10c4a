// Log lines as JSON, one a line, to whatever sink main hands in.

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
    const record = { time: new Date(now()).toISOString(), level, message, ...bound, ...fields };
    write(JSON.stringify(record, plain));
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLog(write, now, least, { ...bound, ...fields }),
  };
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return value.message;
  return value;
}
