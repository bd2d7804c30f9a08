/**
 * Where each value of a JSON document is: the line of its name or, in a list, of its beginning, by JSON pointer. For
 * messages to people who wrote the file. The text must be valid JSON; a name that an object has twice is reported,
 * because a reader would silently take the last one.
 */

export interface JsonPlaces {
  /** The line of a pointer, from 1; that of the nearest part above it when the document lacks it. */
  lineOf(pointer: string): number;
  /** Pointers of names that come a second time in their object. */
  readonly repeated: readonly string[];
}

/** Texts, punctuation, line feeds, and everything else that is a value. */
const TOKEN = /"(?:\\.|[^"\\])*"|[{}[\]:,]|\n|[^\s{}[\]:,"]+/g;

interface Open {
  readonly pointer: string;
  readonly isList: boolean;
  /** Of a list: the position of the next value. */
  index: number;
  /** Of an object: the pointer of the value that follows; undefined where a name is expected. */
  member: string | undefined;
}

export function placesOf(text: string): JsonPlaces {
  const lines = new Map<string, number>();
  const repeated: string[] = [];
  const open: Open[] = [];
  let line = 1;
  /** The pointer of the value that begins now. */
  const nextPointer = (): string => {
    const around = open.at(-1);
    if (around === undefined) return "";
    return around.isList ? `${around.pointer}/${around.index}` : (around.member as string);
  };
  for (const [token] of text.matchAll(TOKEN)) {
    const around = open.at(-1);
    if (token === "\n") line++;
    else if (token === "{" || token === "[") {
      const pointer = nextPointer();
      if (!lines.has(pointer)) lines.set(pointer, line);
      open.push({ pointer, isList: token === "[", index: 0, member: undefined });
    } else if (token === "}" || token === "]") open.pop();
    else if (token === ",") {
      if (around?.isList) around.index++;
      else if (around) around.member = undefined;
    } else if (token !== ":") {
      if (around && !around.isList && around.member === undefined) {
        around.member = `${around.pointer}/${escapedName(JSON.parse(token) as string)}`;
        if (lines.has(around.member)) repeated.push(around.member);
        else lines.set(around.member, line);
      } else if (!lines.has(nextPointer())) lines.set(nextPointer(), line);
    }
  }
  return {
    repeated,
    lineOf(pointer) {
      for (let at = pointer; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
        const found = lines.get(at);
        if (found !== undefined) return found;
      }
      return lines.get("") ?? 1;
    },
  };
}

const VALUE = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|".*")$/s;

/** The line of the first token that cannot be where it is, for a text that JSON.parse has refused. */
export function lineOfSyntaxFault(text: string): number {
  const open: string[] = [];
  /** What may come: a value, a name, `:`, or after a value `,` or the closing bracket. */
  let expected: "value" | "name" | "colon" | "next" = "value";
  let isFirst = false;
  let line = 1;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "\n") {
      line++;
      continue;
    }
    const closes = token === "}" || token === "]";
    if (closes && (expected === "next" || isFirst) && open.at(-1) === token) {
      open.pop();
      expected = "next";
    } else if (expected === "value" && (token === "{" || token === "[")) {
      open.push(token === "{" ? "}" : "]");
      expected = token === "{" ? "name" : "value";
      isFirst = true;
      continue;
    } else if (expected === "value" && VALUE.test(token)) expected = "next";
    else if (expected === "name" && token.startsWith('"')) expected = "colon";
    else if (expected === "colon" && token === ":") expected = "value";
    else if (expected === "next" && token === "," && open.length > 0) expected = open.at(-1) === "}" ? "name" : "value";
    else return line;
    isFirst = false;
  }
  return line;
}

/** A name as a part of a JSON pointer (RFC 6901). */
export const escapedName = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** The value at a pointer, or undefined. */
export function valueAt(document: unknown, pointer: string): unknown {
  if (pointer === "") return document;
  let value = document;
  for (const part of pointer.slice(1).split("/")) {
    if (typeof value !== "object" || value === null) return undefined;
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    value = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
  }
  return value;
}
