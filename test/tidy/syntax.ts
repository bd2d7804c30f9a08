/**
 * Rules over the syntax trees of modules: how long functions and files are, and whether every export has an importer.
 * A function or a file over its limit needs an entry with a reason in `reasons.ts`; an entry that is no longer needed
 * is a fault, too.
 */
import { parseAst } from "vite";
import { resolve } from "./import-graph.js";
import { isUnder, MODULE, onceEach, type Rule, type SourceFile } from "./source-files.js";

/** A node of the tree (ESTree), as far as the rules read it. */
interface Node {
  type: string;
  start: number;
  end: number;
  [field: string]: unknown;
}

const trees = new Map<string, Node>();

function treeOf({ path, text }: SourceFile): Node {
  const key = `${path}\n${text}`;
  const known = trees.get(key);
  if (known) return known;
  const lang = path.endsWith(".tsx") ? "tsx" : path.endsWith(".ts") ? "ts" : "js";
  const tree = parseAst(text, { lang }) as unknown as Node;
  trees.set(key, tree);
  return tree;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Node).type === "string";

/** Enters a tree of half a million nodes in all: nothing is allocated for a node. */
function visit(node: Node, parent: Node | undefined, enter: (node: Node, parent: Node | undefined) => void): void {
  enter(node, parent);
  for (const field in node) {
    const value = node[field];
    if (Array.isArray(value)) {
      for (const child of value) if (isNode(child)) visit(child, node, enter);
    } else if (isNode(value)) visit(value, node, enter);
  }
}

// ---- length

const FUNCTION_LINES = 80;
const FILE_LINES = 400;
const PRODUCT = ["engine/", "connectors/", "dashboards/", "bench/"];
const CODE = /\.(tsx?|mjs|lua|css)$/;

function linesOf(text: string, start: number, end: number): number {
  let lines = 1;
  for (let at = text.indexOf("\n", start); at !== -1 && at < end; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

const nameOf = (value: unknown): string | undefined => {
  if (!isNode(value)) return undefined;
  return (value["name"] as string | undefined) ?? nameOf(value["key"]) ?? nameOf(value["id"]);
};

/** The named functions of a file with their lengths in lines; a function has the name of what it is assigned to. */
function functionsOf(file: SourceFile): { name: string; lines: number }[] {
  if (file.path.endsWith(".lua")) return luaFunctionsOf(file.text);
  const found: { name: string; lines: number }[] = [];
  visit(treeOf(file), undefined, (node, parent) => {
    if (!/^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type)) return;
    const lines = linesOf(file.text, node.start, node.end);
    const holder = parent && /^(MethodDefinition|PropertyDefinition|Property|VariableDeclarator)$/.test(parent.type);
    const name = nameOf(node) ?? (holder ? nameOf(parent) : undefined) ?? "";
    // One without a name is a part of the function around it.
    if (name !== "") found.push({ name, lines });
  });
  return found;
}

function luaFunctionsOf(text: string): { name: string; lines: number }[] {
  const functions = text.matchAll(/^(?:local )?function (?<name>[\w.]+)[^\n]*\n(?:[\s\S]*?\n)?end$/gm);
  return [...functions].map((found) => ({ name: found.groups?.["name"] ?? "", lines: found[0].split("\n").length }));
}

interface Long {
  place: string;
  lines: number;
}

/** By path of a file, and by path and name of a function. */
export interface Reasons {
  files: Readonly<Record<string, string>>;
  functions: Readonly<Record<string, string>>;
}

const longFunctionsOf = onceEach((files: readonly SourceFile[]): Long[] =>
  files
    .filter(({ path }) => /\.(tsx?|mjs|lua)$/.test(path) && isUnder(path, ...PRODUCT))
    .flatMap((file) => functionsOf(file).map(({ name, lines }) => ({ place: `${file.path} ${name}`, lines })))
    .filter(({ lines }) => lines > FUNCTION_LINES),
);

const longFilesOf = (files: readonly SourceFile[]): Long[] =>
  files
    .filter(({ path }) => CODE.test(path))
    .map(({ path, text }) => ({ place: path, lines: text.trimEnd().split("\n").length }))
    .filter(({ lines }) => lines > FILE_LINES);

export const longFunctionsHaveReasons =
  ({ functions }: Reasons): Rule =>
  (files) =>
    withoutReason(longFunctionsOf(files), functions);

export const longFilesHaveReasons =
  (reasons: Reasons): Rule =>
  (files) =>
    withoutReason(longFilesOf(files), reasons.files);

const withoutReason = (long: readonly Long[], reasons: Readonly<Record<string, string>>): string[] =>
  long.filter(({ place }) => !reasons[place]).map(({ place, lines }) => `${place}: ${lines} lines`);

/** Reasons whose file or function is not long any more, or not there. */
export function needlessReasons(files: readonly SourceFile[], reasons: Reasons): string[] {
  const long = new Set([...longFunctionsOf(files), ...longFilesOf(files)].map(({ place }) => place));
  return Object.keys({ ...reasons.files, ...reasons.functions }).filter((place) => !long.has(place));
}

export const commentsAreNarrow: Rule = (files) =>
  files
    .filter(({ path }) => CODE.test(path))
    .flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, i) => {
        const isComment = /^\s*(\/\*|\*|\/\/|--)/.test(line) && !/https?:\/\//.test(line);
        return isComment && [...line].length > 120 ? [`${path}:${i + 1}`] : [];
      }),
    );

// ---- exports

/** The values that a module exports, without `default` and without what it only passes on. Types are free. */
function exportsOf(file: SourceFile): string[] {
  const body = treeOf(file)["body"] as Node[];
  return body.flatMap((node) => {
    if (node.type !== "ExportNamedDeclaration" || node["source"]) return [];
    const declaration = node["declaration"];
    if (node["exportKind"] === "type") return [];
    if (isNode(declaration)) {
      if (/^TS(Interface|TypeAlias)Declaration$/.test(declaration.type)) return [];
      if (declaration.type !== "VariableDeclaration") return nameOf(declaration) ?? [];
      return (declaration["declarations"] as Node[]).flatMap(({ id }) => namesIn(id as Node));
    }
    return (node["specifiers"] as Node[]).map(({ exported }) => nameOf(exported) as string);
  });
}

function namesIn(pattern: Node): string[] {
  const names: string[] = [];
  visit(pattern, undefined, (node, parent) => {
    const isKey = parent?.type === "Property" && parent["key"] === node;
    if (node.type === "Identifier" && !isKey) names.push(nameOf(node) as string);
  });
  return pattern.type === "Identifier" ? [nameOf(pattern) as string] : names;
}

/** What a file takes from others: names by module, and modules of which it may take everything. */
function takenBy(file: SourceFile, paths: ReadonlySet<string>): { names: Set<string>; whole: Set<string> } {
  const names = new Set<string>();
  const whole = new Set<string>();
  const target = (source: unknown): string | undefined => {
    const value = isNode(source) ? source["value"] : undefined;
    return typeof value === "string" ? resolve(file.path, value, paths) : undefined;
  };
  visit(treeOf(file), undefined, (node) => {
    const to = target(node["source"]);
    if (to === undefined) return;
    if (node.type === "ImportExpression" || node.type === "ExportAllDeclaration") whole.add(to);
    for (const specifier of (node["specifiers"] as Node[] | undefined) ?? []) {
      if (specifier.type === "ImportNamespaceSpecifier") whole.add(to);
      const name = nameOf(specifier["imported"]) ?? (node["source"] ? nameOf(specifier["local"]) : undefined);
      if (name !== undefined) names.add(`${to} ${name}`);
    }
  });
  // Types written as `import("…").Name`.
  for (const [, specifier = "", name = ""] of file.text.matchAll(/\bimport\("([^"]+)"\)\.(\w+)/g)) {
    const to = resolve(file.path, specifier, paths);
    if (to !== undefined) names.add(`${to} ${name}`);
  }
  return { names, whole };
}

/** Entry points: what they export is for a program that the import graph does not show. */
const ENTRIES =
  /(^dashboards\/stock-module\/show-stock\.ts$|^vitest\.|\/vite\.config\.|^bench\/[^/]+\.ts$|\.d\.ts$|\.test\.ts$)/;

export const exportsAreImported: Rule = (files) => {
  const modules = files.filter(({ path }) => MODULE.test(path));
  const paths = new Set(files.map(({ path }) => path));
  const names = new Set<string>();
  const wholes = new Map<string, string>();
  for (const file of modules) {
    const taken = takenBy(file, paths);
    for (const name of taken.names) names.add(name);
    for (const whole of taken.whole) wholes.set(whole, `${wholes.get(whole) ?? ""}\n${file.text}`);
  }
  return modules
    .filter(({ path }) => !ENTRIES.test(path))
    .flatMap((file) =>
      exportsOf(file)
        .filter((name) => !names.has(`${file.path} ${name}`))
        .filter((name) => !new RegExp(`\\b${name}\\b`).test(wholes.get(file.path) ?? ""))
        .map((name) => `${file.path} exports ${name}`),
    );
};
