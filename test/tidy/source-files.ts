/**
 * The files of the repository as the rules read them, and what every rule is: a function from files to
 * the faults that it finds.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path/posix";
import { fileURLToPath } from "node:url";

export interface SourceFile {
  path: string;
  text: string;
}
export type Rule = (files: readonly SourceFile[]) => string[];

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SKIPPED = /^(node_modules|dist|dist\..*|coverage|\.git|\.shuiwei|package-lock\.json|LICENSE)$/;
const TEXT = /(\.(ts|tsx|mts|mjs|lua|md|json|css|html|yml|yaml|sh|conf)|\/run)$/;
export const MODULE = /\.tsx?$/;
export const WEB = "dashboards/web/";

export function filesUnder(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (SKIPPED.test(entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    if (!entry.isFile()) return [];
    return [{ path, text: TEXT.test(path) ? readFileSync(join(ROOT, path), "utf8") : "" }];
  });
}

/** A function of a list of files that does its work once for each list. */
export function onceEach<Result>(read: (files: readonly SourceFile[]) => Result) {
  const results = new WeakMap<readonly SourceFile[], Result>();
  return (files: readonly SourceFile[]): Result => {
    const known = results.get(files) ?? read(files);
    results.set(files, known);
    return known;
  };
}

export const isUnder = (path: string, ...places: string[]) =>
  places.some((place) => path === place || path.startsWith(place));

/** Splits a module into its code without comments and plain strings (templates stay), and its strings and templates. */
function read(text: string): { code: string; texts: string[] } {
  const texts: string[] = [];
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g;
  const code = text.replace(token, (found) => {
    if (found.startsWith("/")) return " ";
    texts.push(found.slice(1, -1));
    return found.startsWith("`") ? found : '""';
  });
  return { code, texts };
}

/** Finds a pattern in the modules outside of `allowed`: in their code, or in their strings and templates. */
export function nowhereBut(allowed: string[], where: "code" | "texts", pattern: RegExp): Rule {
  return (files) =>
    files
      .filter(({ path }) => MODULE.test(path) && !isUnder(path, ...allowed))
      .flatMap(({ path, text }) =>
        [read(text)[where]].flat().flatMap((part) => {
          const found = pattern.exec(part);
          return found === null ? [] : [`${path}: ${found[0]}`];
        }),
      );
}
