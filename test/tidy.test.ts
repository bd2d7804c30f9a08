/**
 * What a linter cannot hold: where time, randomness, settings, Redis keys and Lua may live, the floors of the import
 * graph, that no file is forgotten, and how files are named and opened. Every rule is a function from files to
 * faults, run twice: over the repository, where it must find nothing, and over a made-up offender, where it must find
 * exactly that; a rule that has gone blind fails. It reads text, not types: a determined author can get past it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path/posix";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface SourceFile {
  path: string;
  text: string;
}
type Rule = (files: readonly SourceFile[]) => string[];

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SKIPPED = /^(node_modules|dist|dist\..*|coverage|\.git|\.shuiwei|package-lock\.json|LICENSE)$/;
const TEXT = /(\.(ts|tsx|mts|mjs|lua|md|json|css|html|yml|yaml|sh|conf)|\/run)$/;
const MODULE = /\.tsx?$/;
const WEB = "dashboards/web/";

function filesUnder(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (SKIPPED.test(entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() && TEXT.test(path) ? [{ path, text: readFileSync(join(ROOT, path), "utf8") }] : [];
  });
}

const isUnder = (path: string, ...places: string[]) => places.some((place) => path === place || path.startsWith(place));

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
function nowhereBut(allowed: string[], where: "code" | "texts", pattern: RegExp): Rule {
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

// ---- the import graph

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

function resolve(from: string, specifier: string, paths: ReadonlySet<string>): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = normalize(join(dirname(from), specifier));
  const stem = target.replace(/\.jsx?$/, "");
  return [target, `${stem}.ts`, `${stem}.tsx`, `${target}/index.ts`].find((path) => paths.has(path));
}

interface Import {
  from: string;
  to: string;
}

function importsOf(files: readonly SourceFile[]): Import[] {
  const paths = new Set(files.map(({ path }) => path));
  return files
    .filter(({ path }) => MODULE.test(path))
    .flatMap((file) =>
      specifiersOf(file).flatMap((specifier) => {
        const to = resolve(file.path, specifier, paths);
        return to === undefined ? [] : [{ from: file.path, to }];
      }),
    );
}

/** Rooms by floor. A room is the matched text. */
const FLOORS: readonly (readonly [number, RegExp])[] = [
  [0, /^engine\/kernel\//],
  [1, /^engine\/(stream|redis)\//],
  [2, /^engine\/(stock|outbox)\//],
  [3, /^engine\/orders\//],
  [4, /^engine\/jobs\/[^/]+/],
  [5, /^engine\/(audit|replay)\//],
  [6, /^connectors\/[^/]+|^dashboards\//],
  [7, /^engine\/app\//],
  [8, /^engine\/cli\//],
  [9, /^(bench|test)\//],
];
const PRODUCT_TOP = 8;
/** The list of a floor's rooms, and what they share: `mapping` serves every source. */
const LISTS = ["engine/jobs/index.ts"];
const SHARED = ["engine/jobs/topics.ts", "connectors/mapping/"];

function roomOf(path: string): { floor: number; room: string } | undefined {
  for (const [floor, pattern] of FLOORS) {
    const room = pattern.exec(path)?.[0];
    if (room !== undefined) return { floor, room };
  }
  return undefined;
}

const modulesOf = (files: readonly SourceFile[]) => files.filter(({ path }) => MODULE.test(path) && path.includes("/"));

const everyModuleHasAFloor: Rule = (files) =>
  modulesOf(files)
    .map(({ path }) => path)
    .filter((path) => roomOf(path) === undefined);

const importsPointDown: Rule = (files) =>
  importsOf(modulesOf(files)).flatMap(({ from, to }) => {
    const [importer, imported] = [roomOf(from), roomOf(to)];
    if (importer === undefined || imported === undefined || importer.room === imported.room) return [];
    const sideways = importer.floor === imported.floor && (LISTS.includes(from) || isUnder(to, ...SHARED));
    const fromAbove = importer.floor > PRODUCT_TOP || imported.floor < importer.floor;
    return fromAbove || sideways ? [] : [`${from} imports ${to}`];
  });

const REDIS_CLIENTS = ["engine/stream/redis.ts", "test/", "bench/"];
const redisHasFewClients: Rule = (files) =>
  files
    .filter((file) => MODULE.test(file.path) && !isUnder(file.path, ...REDIS_CLIENTS))
    .filter((file) => specifiersOf(file).some((specifier) => /^ioredis(\/|$)/.test(specifier)))
    .map(({ path }) => `${path} imports ioredis`);

const nothingIsForgotten: Rule = (files) => {
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

// ---- names, openings, leftovers

const opensWithComment: Rule = (files) =>
  files
    .filter(({ path }) => /\.(tsx?|mjs|lua)$/.test(path))
    .filter(({ path, text }) => {
      const body = path.endsWith(".lua") ? text.replace(/^#!lua.*\n/, "") : text.replace(/^#!.*\n/, "");
      return !body.startsWith(path.endsWith(".lua") ? "--" : "/**");
    })
    .map(({ path }) => path);

const namesSayWhat: Rule = (files) =>
  files
    .filter(({ path }) => /\.(tsx?|mjs|lua)$/.test(path))
    .map(({ path }) => path)
    .filter((path) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const words = name.split(/[.-]/);
      const vague = words.some((word) => /^(utils?|helpers?|managers?)$/.test(word)) || words[0] === "data";
      return vague || !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.(tsx?|mjs|lua)$/.test(name);
    });

const anywhere =
  (pattern: RegExp): Rule =>
  (files) =>
    files.flatMap(({ path, text }) => {
      const found = pattern.exec(text);
      return found === null ? [] : [`${path}: ${found[0]}`];
    });

const metricsExist: Rule = (files) => {
  const sources = files.filter(
    ({ path }) => MODULE.test(path) && isUnder(path, "engine/", "connectors/", "dashboards/"),
  );
  const known = new Set(sources.flatMap(({ text }) => text.match(/shuiwei_[a-z0-9_]+/g) ?? []));
  return files
    .filter(({ path }) => path.startsWith("dashboards/grafana/") && path.endsWith(".json"))
    .flatMap(({ path, text }) =>
      [...new Set(text.match(/shuiwei_[a-z0-9_]+/g) ?? [])]
        .filter((name) => !known.has(name) && !known.has(name.replace(/_(bucket|sum|count|total)$/, "")))
        .map((name) => `${path}: ${name}`),
    );
};

// ---- the rules, each with an offender that it must catch

const CLOCKS =
  /\bDate\.now\b|\bnew Date(?:\(\s*\)|(?!\w|\())|(?<!new )\bDate\(\)|\bperformance\.now\b|\bMath\.random\b|\brandom(?:Bytes|UUID|Int)\b|\bgetRandomValues\b|\bhrtime\b/;
const OUTSIDE_ENGINE = ["test/", "bench/"];
const HASH_TAG = /(?<!\$)\{(?:[a-z][\w-]*:|\$\{[^}]*\}:)/;
// Written so that this file does not offend.
const LUA = new RegExp(["\\bredis\\.", "p?call\\s*\\(", "|\\bredis\\.", "register_function"].join(""));
const LEFTOVER = new RegExp(`\\b(?:${["TO", "FIX"].map((half, i) => half + ["DO", "ME"][i]).join("|")})\\b`);
const MACHINE_PATH = new RegExp(`(?<![\\w.$}])/(?:${["home", "root", "Users", "work"].join("|")})/\\w+`);

const module = (path: string, text: string): SourceFile => ({ path, text });

const RULES: readonly { behaviour: string; rule: Rule; offenders: readonly (readonly SourceFile[])[] }[] = [
  {
    behaviour: "time and randomness come through the kernel",
    rule: nowhereBut(["engine/kernel/", "engine/boot/", WEB, ...OUTSIDE_ENGINE], "code", CLOCKS),
    offenders: [
      [module("engine/stock/a.ts", "const at = Date.now();")],
      [module("engine/stock/a.ts", "const at = new Date();")],
      [module("engine/jobs/a.ts", "const at = new Date;")],
      [module("connectors/csv/a.ts", `log(\`at \${performance.now()}\`);`)],
      [module("dashboards/gateway.ts", "if (Math.random() < 0.5) drop();")],
      [module("engine/app/engine.ts", 'import { randomUUID } from "node:crypto";')],
      [module("engine/app/engine.ts", 'import { randomBytes } from "node:crypto";')],
    ],
  },
  {
    behaviour: "only the configuration reads the environment",
    rule: nowhereBut(
      ["engine/app/config.ts", "engine/boot/", "vitest.faults.config.ts", ...OUTSIDE_ENGINE],
      "code",
      /\bprocess\??\.\s*env\b|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/,
    ),
    offenders: [
      [module("engine/app/engine.ts", 'const url = process.env["URL"];')],
      [module("engine/app/engine.ts", "const { env } = process;")],
    ],
  },
  {
    behaviour: "Redis keys are made in one place",
    rule: nowhereBut(["engine/stream/keys.ts", WEB, ...OUTSIDE_ENGINE], "texts", HASH_TAG),
    offenders: [
      [module("engine/stock/a.ts", 'const key = "{stock:07}:log";')],
      [module("engine/stock/a.ts", `const key = \`{orders:\${partition}}:log\`;`)],
      [module("engine/stock/a.ts", `const key = \`{\${topic}:\${partition}}\`;`)],
    ],
  },
  {
    behaviour: "Lua lives in .lua files",
    rule: nowhereBut([], "texts", LUA),
    offenders: [[module("engine/stock/a.ts", `const script = "return redis.${"call"}('GET', KEYS[1])";`)]],
  },
  {
    behaviour: "imports point down, and rooms of one floor do not know each other",
    rule: importsPointDown,
    offenders: [
      ["engine/kernel/a.ts", "engine/stream/b.ts"],
      ["engine/stream/a.ts", "engine/redis/b.ts"],
      ["engine/stock/a.ts", "engine/orders/b.ts"],
      ["engine/outbox/a.ts", "engine/stock/b.ts"],
      ["engine/orders/a.ts", "engine/jobs/x/b.ts"],
      ["engine/jobs/x/a.ts", "engine/jobs/y/b.ts"],
      ["engine/jobs/x.ts", "engine/jobs/y/b.ts"],
      ["engine/jobs/x/a.ts", "engine/jobs/index.ts"],
      ["connectors/csv/a.ts", "connectors/http/b.ts"],
      ["connectors/csv/deep/a.ts", "connectors/index.ts"],
      ["connectors/csv/a.ts", "dashboards/b.ts"],
      ["dashboards/web/a.tsx", "connectors/csv/b.ts"],
      ["dashboards/a.ts", "engine/app/engine.ts"],
      ["engine/app/engine.ts", "bench/b.ts"],
      ["engine/stream/a.ts", "test/b.ts"],
    ].map(([from = "", to = ""]) => {
      const up = "../".repeat(from.split("/").length - 1);
      return [module(from, `import { b } from "${up}${to.replace(/\.ts$/, ".js")}";`), module(to, "")];
    }),
  },
  {
    behaviour: "every module is on a floor",
    rule: everyModuleHasAFloor,
    offenders: [[module("engine/attic/a.ts", "")]],
  },
  {
    behaviour: "Redis is spoken to in few places",
    rule: redisHasFewClients,
    offenders: [
      [module("engine/stock/decide.ts", 'import { Redis } from "ioredis";')],
      [module("connectors/csv/a.ts", 'const { Redis } = await import("ioredis");')],
    ],
  },
  {
    behaviour: "no module is forgotten",
    rule: nothingIsForgotten,
    offenders: [
      [module("engine/cli/main.ts", ""), module("engine/stock/a.ts", "")],
      [module("engine/cli/main.ts", '// import "./stock/a.js"'), module("engine/stock/a.ts", "")],
      [
        module(`${WEB}index.html`, '<script src="/app.tsx"></script>'),
        module(`${WEB}app.tsx`, ""),
        module(`${WEB}lost.ts`, ""),
      ],
    ],
  },
  {
    behaviour: "every file opens with a comment",
    rule: opensWithComment,
    offenders: [
      [module("engine/a.ts", 'import "x";\n/** late */')],
      [module("engine/a.lua", "#!lua name=a\nlocal x")],
      [module("engine/boot/a.mjs", "#!/usr/bin/env node\nimport 'x'")],
    ],
  },
  {
    behaviour: "file names say what is inside, in kebab-case",
    rule: namesSayWhat,
    offenders: [
      "engine/utils.ts",
      "engine/stock-helper.ts",
      "engine/manager.ts",
      "engine/data.ts",
      "engine/StockBook.ts",
      "engine/a_b.ts",
    ].map((path) => [module(path, "/** x */")]),
  },
  {
    behaviour: "nothing is left for later",
    rule: anywhere(LEFTOVER),
    offenders: [[module("engine/README.md", `${"TO"}DO: write`)], [module("engine/a.ts", `// ${"FIX"}ME`)]],
  },
  {
    behaviour: "no file names a place on somebody's machine",
    rule: anywhere(MACHINE_PATH),
    offenders: [[module("bench/README.md", `run in ${"/home"}/someone`)], [module("engine/a.ts", `"${"/work"}/main"`)]],
  },
  {
    behaviour: "every metric on a Grafana board exists",
    rule: metricsExist,
    offenders: [
      [module("dashboards/grafana/a.json", '"rate(shuiwei_lost_total[1m])"'), module("engine/a.ts", '"shuiwei_kept"')],
    ],
  },
];

const repository = filesUnder("");

describe("in this repository", () => {
  for (const { behaviour, rule } of RULES) it(behaviour, () => expect(rule(repository)).toEqual([]));
});

describe("an offender is caught:", () => {
  for (const { behaviour, rule, offenders } of RULES) {
    it(behaviour, () => {
      for (const files of offenders)
        expect({ files, faults: rule(files) }).toMatchObject({ faults: [expect.any(String)] });
    });
  }
});

describe("the rules leave alone", () => {
  it("what only looks like an offence", () => {
    const innocent = [
      module(
        "engine/cli/main.ts",
        '/** Never Date.now(). */\nimport "../app/engine.js";\nimport "../../connectors/csv/index.js";',
      ),
      module("engine/app/engine.ts", '/** x */\nimport "../stream/redis.js";\nimport "../jobs/index.js";'),
      module("engine/stream/redis.ts", '/** x */\nimport { Redis } from "ioredis";'),
      module("engine/jobs/index.ts", '/** x */\nexport * from "./heatmap/job.js";'),
      module("engine/jobs/topics.ts", "/** x */"),
      module(
        "engine/jobs/heatmap/job.ts",
        `/** x */\nimport "../topics.js";\nconst at = new Date(0), url = \`/v1/{id}/\${at}\`;`,
      ),
      module("connectors/mapping/mapping.ts", "/** x */"),
      module(
        "connectors/csv/index.ts",
        '/** x */\nimport "../mapping/mapping.js";\nredis.call("PING"); // process.env',
      ),
    ];
    for (const { rule } of RULES) expect(rule(innocent)).toEqual([]);
  });

  it("a repository that was really read", () => {
    expect(repository.map(({ path }) => path)).toContain("test/tidy.test.ts");
    expect(importsOf(repository).length).toBeGreaterThan(5);
  });
});
