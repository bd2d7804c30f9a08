/**
 * The import graph of the repository: which module imports which, on which floor each room lies, and which
 * modules nothing reaches.
 */
import { dirname, join, normalize } from "node:path/posix";
import { isUnder, MODULE, onceEach, type Rule, type SourceFile, WEB } from "./source-files.js";

const SPECIFIER =
  /\b(?:import|export)\b[^"'`;()]*?\bfrom\s*["']([^"']+)["']|\bimport\s*["']([^"']+)["']|\bimport\(\s*["'`]([^"'`$]+)["'`]|\bnew URL\(\s*["'`]([^"'`$]+)["'`]\s*,\s*import\.meta\.url/g;

function specifiersOf({ path, text }: SourceFile): string[] {
  const withoutComments = text.replace(
    /("(?:\\.|[^"\\\n])*")|\/\*[\s\S]*?\*\/|(?<![:\\/])\/\/[^\n]*/g,
    (found, string) => (string === undefined ? " " : found),
  );
  const found = [...withoutComments.matchAll(SPECIFIER)].map((match) => match.slice(1).find(Boolean) as string);
  // A bundler's configuration names its entries as plain strings.
  const isBundler = /\/vite\.config\.\w+$/.test(path);
  const named = isBundler
    ? [...withoutComments.matchAll(/["']([\w./-]+\.tsx?)["']/g)].map((match) => `./${match[1]}`)
    : [];
  return [...found, ...named];
}

export function resolve(from: string, specifier: string, paths: ReadonlySet<string>): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = normalize(join(dirname(from), specifier));
  const stem = target.replace(/\.jsx?$/, "");
  return [target, `${stem}.ts`, `${stem}.tsx`, `${target}/index.ts`].find((path) => paths.has(path));
}

export interface Import {
  from: string;
  to: string;
}

export const importsOf = onceEach((files): Import[] => {
  const paths = new Set(files.map(({ path }) => path));
  return files
    .filter(({ path }) => MODULE.test(path))
    .flatMap((file) =>
      specifiersOf(file).flatMap((specifier) => {
        const to = resolve(file.path, specifier, paths);
        return to === undefined ? [] : [{ from: file.path, to }];
      }),
    );
});

/** Rooms by floor. A room is the matched text. */
const FLOORS: readonly (readonly [number, RegExp])[] = [
  [0, /^engine\/kernel\//],
  [1, /^engine\/(stream|redis)\//],
  [2, /^engine\/(stock|outbox|publication)\//],
  [3, /^engine\/(orders|reconciliation|alerting)\//],
  [4, /^engine\/jobs\/[^/]+|^engine\/history\//],
  [5, /^engine\/(audit|replay)\//],
  [6, /^connectors\/[^/]+|^dashboards\//],
  [7, /^engine\/app\//],
  [8, /^engine\/cli\//],
  [9, /^(bench|test)\//],
];
const PRODUCT_TOP = 8;
/** The list of a floor's rooms, and what they share: what serves every source. */
const LISTS = ["engine/jobs/index.ts", "connectors/index.ts"];
const SHARED = [
  "engine/jobs/topics.ts",
  "connectors/connector.ts",
  "connectors/source.ts",
  "connectors/channel.ts",
  "connectors/purger.ts",
  "connectors/channels/",
  "connectors/configuration/",
  "connectors/mapping/",
  "connectors/purges/",
  "connectors/csv/row-parser.ts",
  "connectors/sources/sandbox/",
];

function roomOf(path: string): { floor: number; room: string } | undefined {
  for (const [floor, pattern] of FLOORS) {
    const room = pattern.exec(path)?.[0];
    if (room !== undefined) return { floor, room };
  }
  return undefined;
}

const modulesOf = (files: readonly SourceFile[]) => files.filter(({ path }) => MODULE.test(path) && path.includes("/"));

export const everyModuleHasAFloor: Rule = (files) =>
  modulesOf(files)
    .map(({ path }) => path)
    .filter((path) => roomOf(path) === undefined);

export const importsPointDown: Rule = (files) =>
  importsOf(modulesOf(files)).flatMap(({ from, to }) => {
    const [importer, imported] = [roomOf(from), roomOf(to)];
    if (importer === undefined || imported === undefined || importer.room === imported.room) return [];
    const sideways = importer.floor === imported.floor && (LISTS.includes(from) || isUnder(to, ...SHARED));
    const fromAbove = importer.floor > PRODUCT_TOP || imported.floor < importer.floor;
    return fromAbove || sideways ? [] : [`${from} imports ${to}`];
  });

const REDIS_CLIENTS = ["engine/stream/redis.ts", "test/", "bench/"];
export const redisHasFewClients: Rule = (files) =>
  files
    .filter((file) => MODULE.test(file.path) && !isUnder(file.path, ...REDIS_CLIENTS))
    .filter((file) => specifiersOf(file).some((specifier) => /^ioredis(\/|$)/.test(specifier)))
    .map(({ path }) => `${path} imports ioredis`);

export const everyModuleIsImported: Rule = (files) => {
  const paths = new Set(files.map(({ path }) => path));
  const pages = files.filter(({ path }) => path.startsWith(WEB) && path.endsWith(".html"));
  const scripts = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/<script\b[^>]*\bsrc="([^"]+)"/g)].map((match) => {
      const source = match[1] as string;
      return source.startsWith("/") ? join(WEB, source) : normalize(join(dirname(path), source));
    }),
  );
  const isRoot = (path: string) =>
    path === "engine/cli/main.ts" ||
    isUnder(path, "test/", "bench/") ||
    scripts.includes(path) ||
    /\/vite\.config\./.test(path);
  const targets = new Map<string, string[]>();
  for (const { from, to } of importsOf(files)) targets.set(from, [...(targets.get(from) ?? []), to]);
  const reached = new Set([...paths].filter(isRoot));
  for (const path of reached) for (const to of targets.get(path) ?? []) reached.add(to);
  return [...paths].filter(
    (path) => MODULE.test(path) && path.includes("/") && !/\.d\.ts$/.test(path) && !reached.has(path),
  );
};

/** Rooms are the folders of `engine/`; an arrow is a pair of rooms of which one imports the other. */
const MOST_ROOMS = 16;
const MOST_ARROWS = 60;

export const engineIsSmall: Rule = (files) => {
  const roomIn = (path: string): string | undefined => /^engine\/([^/]+)\//.exec(path)?.[1];
  const rooms = new Set(files.flatMap(({ path }) => roomIn(path) ?? []));
  const arrows = new Set(
    importsOf(files).flatMap(({ from, to }) => {
      const [importer, imported] = [roomIn(from), roomIn(to)];
      return importer && imported && importer !== imported ? [`${importer} → ${imported}`] : [];
    }),
  );
  return [
    ...(rooms.size > MOST_ROOMS ? [`${rooms.size} rooms: ${[...rooms].sort().join(", ")}`] : []),
    ...(arrows.size > MOST_ARROWS ? [`${arrows.size} arrows: ${[...arrows].sort().join(", ")}`] : []),
  ];
};
