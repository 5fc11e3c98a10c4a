// Hawser's errors as gRPC statuses and back; the code itself travels in the trailing metadata.
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { asHawserError, errorCodes, HawserError, messageOf, type ErrorCode } from "../std/errors.ts";

const codeKey = "hawser-code";

/** For clients that know gRPC but not us. */
const statuses: Readonly<Record<ErrorCode, status>> = {
  BAD_REQUEST: status.INVALID_ARGUMENT,
  BAD_OPTION: status.INVALID_ARGUMENT,
  BAD_POLICY: status.INVALID_ARGUMENT,
  BAD_SERVICE: status.INVALID_ARGUMENT,
  TABLE_FULL: status.RESOURCE_EXHAUSTED,
  BAD_CONFIG: status.INVALID_ARGUMENT,
  NOT_FOUND: status.NOT_FOUND,
  ALREADY_EXISTS: status.ALREADY_EXISTS,
  IN_USE: status.FAILED_PRECONDITION,
  PORT_IN_USE: status.FAILED_PRECONDITION,
  NO_FREE_ADDRESS: status.RESOURCE_EXHAUSTED,
  NO_FREE_POOL: status.RESOURCE_EXHAUSTED,
  NO_FREE_PORT: status.RESOURCE_EXHAUSTED,
  OVERLAP: status.FAILED_PRECONDITION,
  UNSUPPORTED: status.UNIMPLEMENTED,
  DEADLINE: status.ABORTED,
  KERNEL: status.INTERNAL,
  STORE: status.INTERNAL,
  AGENT_UNREACHABLE: status.UNAVAILABLE,
  INTERNAL: status.INTERNAL,
};

export interface StatusObject {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

export function errorToStatus(thrown: unknown): StatusObject {
  const error = asHawserError(thrown);
  const metadata = new Metadata();
  metadata.set(codeKey, error.code);
  return { code: statuses[error.code] ?? status.INTERNAL, details: bounded(error.message), metadata };
}

/** Bytes. A message travels in a header, percent-encoded, and HTTP/2 peers refuse headers beyond 64 KiB. */
const longestMessage = 16_384;

function bounded(message: string): string {
  if (Buffer.byteLength(message) <= longestMessage) return message;
  const lines = message.split("\n");
  let [length, kept] = [0, 0];
  while (kept < lines.length && (length += Buffer.byteLength(lines[kept] ?? "") + 1) < longestMessage - 100) kept++;
  if (kept === 0) return `${Buffer.from(message).subarray(0, longestMessage - 100).toString().replace(/\ufffd$/, "")}…`;
  return [...lines.slice(0, kept), `… and ${lines.length - kept} more lines`].join("\n");
}

/** What gRPC itself reports (a lost socket, a deadline that passed) carries no code of ours: the agent cannot be reached. */
export function errorFromStatus(thrown: unknown, socket: string): HawserError {
  if (!isServiceError(thrown)) return new HawserError("INTERNAL", messageOf(thrown), { cause: thrown });
  const code = thrown.metadata?.get(codeKey)[0];
  if (typeof code === "string" && code in errorCodes) {
    return new HawserError(code as ErrorCode, thrown.details, { cause: thrown });
  }
  if (thrown.code === status.UNIMPLEMENTED) {
    return new HawserError("UNSUPPORTED", "the running agent is of another version and does not know this call; restart it", { cause: thrown });
  }
  if (thrown.code === status.RESOURCE_EXHAUSTED) {
    return new HawserError("INTERNAL", `the answer is too large: ${thrown.details}`, { cause: thrown });
  }
  if (thrown.code === status.DEADLINE_EXCEEDED) return unreachable(socket, "it accepted the call and did not answer in time");
  return unreachable(socket, thrown.details);
}

export function unreachable(socket: string, why: string): HawserError {
  return new HawserError(
    "AGENT_UNREACHABLE",
    `the agent does not answer on ${socket} (${why}); start it (\`systemctl start hawser\`, or \`hawser agent\`) or pick another with --socket`,
  );
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
