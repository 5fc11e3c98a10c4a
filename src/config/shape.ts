// The words in which the configuration's shape is written: keys with a default, what they may be, and groups of keys.

/** A key with a value of its own. */
export interface Key<T> {
  readonly kind: "key";
  readonly default: T;
  /** Ends the sentence "must be …". */
  readonly allowed: string;
  /** For the reference. */
  readonly about: string;
  accepts(input: unknown): boolean;
}

/** A key whose value is a list of groups, such as `peers`. */
export interface List<S extends Shape> {
  readonly kind: "list";
  readonly of: S;
  readonly about: string;
}

export interface Group<S extends Shape> {
  readonly kind: "group";
  readonly keys: S;
  readonly about: string;
}

export type Shape = { readonly [key: string]: Key<unknown> | Group<Shape> | List<Shape> };

export type ValueOf<N> = N extends Key<infer T> ? T
  : N extends Group<infer S> ? { readonly [K in keyof S]: ValueOf<S[K]> }
  : N extends List<infer S> ? readonly { readonly [K in keyof S]: ValueOf<S[K]> }[]
  : never;

/** What a value may be, without its key. */
export interface Rule<T> {
  readonly allowed: string;
  accepts(input: unknown): input is T;
}

export function group<const S extends Shape>(about: string, keys: S): Group<S> {
  return { kind: "group", keys, about };
}

export function list<const S extends Shape>(about: string, of: S): List<S> {
  return { kind: "list", of, about };
}

export function key<T>(rule: Rule<T>, standard: NoInfer<T>, about: string): Key<T> {
  return { kind: "key", default: standard, allowed: rule.allowed, about, accepts: rule.accepts };
}

/** A key that must be given: its default is none. */
export function needed<T>(rule: Rule<T>, about: string): Key<T> {
  return { kind: "key", default: undefined as T, allowed: rule.allowed, about, accepts: rule.accepts };
}

export function oneOf<const T extends string>(...words: readonly T[]): Rule<T> {
  return { allowed: words.join(" or "), accepts: (input): input is T => words.some((word) => word === input) };
}

export const flag: Rule<boolean> = { allowed: "true or false", accepts: (input) => typeof input === "boolean" };

export function whole(least: number, most: number): Rule<number> {
  return {
    allowed: `a whole number from ${least} to ${most}`,
    accepts: (input): input is number => Number.isInteger(input) && Number(input) >= least && Number(input) <= most,
  };
}

export function text(allowed: string, accepts: (text: string) => boolean): Rule<string> {
  return { allowed, accepts: (input): input is string => typeof input === "string" && accepts(input) };
}

export function listOf<T>(rule: Rule<T>): Rule<readonly T[]> {
  return { allowed: `a list, each ${rule.allowed}`, accepts: (input): input is readonly T[] => Array.isArray(input) && input.every((item) => rule.accepts(item)) };
}

export function either<A, B>(first: Rule<A>, second: Rule<B>): Rule<A | B> {
  return { allowed: `${first.allowed} or ${second.allowed}`, accepts: (input): input is A | B => first.accepts(input) || second.accepts(input) };
}

export function orNull<T>(rule: Rule<T>): Rule<T | null> {
  return { allowed: `${rule.allowed} or null`, accepts: (input): input is T | null => input === null || rule.accepts(input) };
}
