/**
 * Versions of function libraries. Libraries and functions are global in a Redis and are replaced by name. The name of a
 * library and those of its functions end in a hash of the code, so that processes of two releases can run at once, each
 * with its own code. A release that does not change a library uses the one that is loaded. A line `-- include x.lua`
 * includes a file of this folder, which several libraries share; `-- include ./x.lua` includes a part of one library, a
 * file beside it. The hash covers what is included.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { EngineError } from "../kernel/errors.js";

export interface Library {
  /** The name in the code, without a version. */
  plainName: string;
  name: string;
  /** The code that is loaded: its names include the version. */
  code: string;
  /** The version at the end of every name. */
  suffix: string;
}

/** 48 bits: enough for a few hundred versions without a collision. */
const HASH_CHARACTERS = 12;
const SUFFIX = new RegExp(`_[0-9a-f]{${HASH_CHARACTERS}}$`);
const HEADER = /^#!lua name=(\w+)([^\n]*\n?)/;
/** Includes are whole lines. */
const INCLUDE_SHARED = /^-- include ([\w-]+\.lua)$/gm;
const INCLUDE_PART = /^-- include (\.\/\S+\.lua)$/gm;
/** A file of this folder as one line, so that the line numbers of the including file do not change. */
const onOneLine = (name: string): string =>
  readFileSync(new URL(name, import.meta.url), "utf8")
    .replace(/--.*$/gm, "")
    .replace(/\s+/g, " ");
const REGISTER = onOneLine("register.lua");

/**
 * The library of a file's text.
 * @param written with lines that include others
 * @param place for messages
 * @param file where its parts are found; left out: it has none
 * @throws EngineError `bad_library` when it does not begin with its name
 */
export function libraryOf(written: string, place: string, file?: URL): Library {
  const text = written
    .replace(INCLUDE_PART, (_, name: string) => readFileSync(new URL(name, file), "utf8"))
    .replace(INCLUDE_SHARED, (_, name: string) => onOneLine(name));
  const plainName = HEADER.exec(text)?.[1];
  if (plainName === undefined)
    throw new EngineError(`${place}: has no "#!lua name=" line`, {
      op: "redis.load",
      code: "bad_library",
      retryable: false,
    });
  const suffix = `_${createHash("sha256").update(text).digest("hex").slice(0, HASH_CHARACTERS)}`;
  const name = plainName + suffix;
  const code = text
    .replace(/\bredis\.register_function\b/g, "register_versioned")
    .replace(HEADER, (_, _name, rest: string) => `#!lua name=${name}${rest}${REGISTER.replaceAll("SUFFIX", suffix)}`);
  return { plainName, name, code, suffix };
}

/** A library's or a function's name without its version. */
export const plainNameOf = (name: string): string => name.replace(SUFFIX, "");

export const isVersioned = (name: string): boolean => SUFFIX.test(name);
