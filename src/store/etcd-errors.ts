// What etcd's refusals mean: whether another member may do better, whether to sign in anew, and the sentence for people.
import { status as codes } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { HawserError, messageOf } from "../std/errors.ts";

/** The member did not answer, is not part of a majority, or is restarting. */
export function isAway(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.UNAVAILABLE || code === codes.DEADLINE_EXCEEDED || code === codes.INTERNAL || code === codes.CANCELLED || code === codes.UNKNOWN;
}

/** The token ran out, or the member that gave it has restarted, or authentication was turned on while we were connected. */
export function wantsToken(error: unknown): boolean {
  return codeOf(error) === codes.UNAUTHENTICATED || (codeOf(error) === codes.INVALID_ARGUMENT && /user name is empty|auth store is old/.test(detailsOf(error)));
}

export function isAuthenticationOff(error: unknown): boolean {
  return codeOf(error) === codes.FAILED_PRECONDITION && detailsOf(error).includes("authentication is not enabled");
}

/** Also of a HawserError that was made of it. */
export function isLeaseGone(error: unknown): boolean {
  return causeCode(error) === codes.NOT_FOUND;
}

export function isCompacted(error: unknown): boolean {
  return causeCode(error) === codes.OUT_OF_RANGE;
}

/** grpc-js's own refusal of a message beyond its limit; etcd's "database space exceeded" has the same code. */
export function isTooLarge(error: unknown): boolean {
  return causeCode(error) === codes.RESOURCE_EXHAUSTED && /larger than max/.test(detailsOf(error instanceof HawserError ? error.cause : error));
}

/** `what` was wanted, such as "written", in "etcd cannot be written". */
export function etcdError(what: string, endpoint: string, prefix: string, error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  return new HawserError("STORE", `etcd at ${endpoint} cannot be ${what}: ${detailsOf(error)}; ${remedy(error, prefix)}`, { cause: error });
}

function remedy(error: unknown, prefix: string): string {
  const details = detailsOf(error);
  switch (codeOf(error)) {
    case codes.UNAUTHENTICATED:
    case codes.PERMISSION_DENIED:
    case codes.INVALID_ARGUMENT:
      if (details.includes("too large")) return "make the record smaller or raise etcd's --max-request-bytes";
      return `check store.user and store.passwordFile, and that the user's role may read and write ${prefix}`;
    case codes.FAILED_PRECONDITION:
      return `check store.user, and that its role may read and write ${prefix}`;
    case codes.RESOURCE_EXHAUSTED:
      return "if its space is full, compact and defragment it, then run `etcdctl alarm disarm`";
    default:
      return /certificate|self.signed|altname|\bSSL\b|\bTLS\b/i.test(details)
        ? "check store.tls and that the server's certificate names this address" : "check that it runs, has a majority and is reached from here";
  }
}

function causeCode(error: unknown): unknown {
  return codeOf(error instanceof HawserError ? error.cause : error);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as Partial<ServiceError>).code : undefined;
}

/** Without grpc-js's own words around what the system said. */
function detailsOf(error: unknown): string {
  const details = error instanceof Error ? (error as Partial<ServiceError>).details : undefined;
  return (details === undefined || details === "" ? messageOf(error) : details)
    .replace(/^etcdserver: |^No connection established\. Last error: (?:Error: )?/, "")
    .replace(/(?:\s*\(\d{4}-[\d:.TZ-]+\))?\. Resolution note:.*$/s, "")
    .replace(/^Deadline exceeded after ([\d.]+)s.*$/s, "no answer within $1 s")
    .replaceAll(/\s+/g, " ");
}
