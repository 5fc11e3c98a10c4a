// Reads fields out of JSON that somebody else wrote; every complaint names the field.
import { HawserError } from "../std/errors.ts";

export interface Fields {
  /** Where this object stands in the request, for messages: "" or `Interface.`. */
  readonly at: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** @throws HawserError BAD_REQUEST when the body is no JSON object; dockerd repeats a request with an empty one after a broken connection. */
export function parseBody(body: string): Fields {
  if (body.trim() === "") throw new HawserError("BAD_REQUEST", "the request has no body; Docker lost it on a retry, so please try again");
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch (cause) {
    throw new HawserError("BAD_REQUEST", "the request's body is not JSON", { cause });
  }
  return fieldsOf(parsed, "");
}

export function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(name || "the request's body", value, "an object");
  return { at: name === "" ? "" : `${name}.`, values: value as Record<string, unknown> };
}

/** A field that must be there. */
export function text(fields: Fields, key: string): string {
  const value = own(fields, key);
  if (typeof value === "string") return value;
  throw wrong(`${fields.at}${key}`, value, "a string");
}

/** A field that may be left out or null; then "". */
export function optionalText(fields: Fields, key: string): string {
  return absent(fields, key) ? "" : text(fields, key);
}

export function optionalBoolean(fields: Fields, key: string, otherwise: boolean): boolean {
  if (absent(fields, key)) return otherwise;
  const value = own(fields, key);
  if (typeof value === "boolean") return value;
  throw wrong(`${fields.at}${key}`, value, "true or false");
}

export function optionalObject(fields: Fields, key: string): Fields {
  return fieldsOf(absent(fields, key) ? {} : own(fields, key), `${fields.at}${key}`);
}

export function optionalList(fields: Fields, key: string): readonly unknown[] {
  if (absent(fields, key)) return [];
  const value = own(fields, key);
  if (Array.isArray(value)) return value;
  throw wrong(`${fields.at}${key}`, value, "a list");
}

export function whole(fields: Fields, key: string, most: number): number {
  const value = absent(fields, key) ? 0 : own(fields, key);
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw wrong(`${fields.at}${key}`, value, `a whole number from 0 to ${most}`);
}

/** Docker's `map[string]string`. */
export function textMap(fields: Fields): Readonly<Record<string, string>> {
  const entries = Object.entries(fields.values).map(([key]) => [key, text(fields, key)] as const);
  return Object.fromEntries(entries);
}

export function own(fields: Fields, key: string): unknown {
  return Object.hasOwn(fields.values, key) ? fields.values[key] : undefined;
}

export function absent(fields: Fields, key: string): boolean {
  const value = own(fields, key);
  return value === undefined || value === null;
}

export function wrong(name: string, value: unknown, may: string): HawserError {
  if (value === undefined) return new HawserError("BAD_REQUEST", `${name} is missing; it must be ${may}`);
  return new HawserError("BAD_REQUEST", `${name}: ${JSON.stringify(value).slice(0, 80)} is not ${may}`);
}
