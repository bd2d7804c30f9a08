/**
 * What a linter cannot hold: where time, randomness, settings, Redis keys and Lua may live, the floors of the import
 * graph, that no file and no export is left over, how long things are, how files are named and opened, and that
 * documents name what exists. Every rule is a function from files to faults, run twice: over the repository, where it
 * must find nothing, and over a made-up offender, where it must find exactly that; a rule that finds nothing in it
 * fails. It reads text and syntax, not types: a determined author can get past it.
 */
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../engine/cli/commands.js";
import { renderOptions } from "../engine/kernel/options.js";
import { namedCommandsExist, namedPathsExist } from "./tidy/documents.js";
import {
  engineIsSmall,
  everyModuleHasAFloor,
  everyModuleIsImported,
  importsOf,
  importsPointDown,
  redisHasFewClients,
} from "./tidy/import-graph.js";
import { REASONS } from "./tidy/reasons.js";
import { filesUnder, nowhereBut, type Rule, type SourceFile, WEB } from "./tidy/source-files.js";
import {
  commentsAreNarrow,
  exportsAreImported,
  longFilesHaveReasons,
  longFunctionsHaveReasons,
  needlessReasons,
} from "./tidy/syntax.js";

const opensWithComment: Rule = (files) =>
  files
    .filter(({ path }) => /\.(tsx?|mjs|lua)$/.test(path))
    .filter(({ path, text }) => {
      const body = path.endsWith(".lua") ? text.replace(/^#!lua.*\n/, "") : text.replace(/^#!.*\n/, "");
      return !body.startsWith(path.endsWith(".lua") ? "--" : "/**");
    })
    .map(({ path }) => path);

const fileNamesAreDescriptive: Rule = (files) =>
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

const CLOCKS =
  /\bDate\.now\b|\bnew Date(?:\(\s*\)|(?!\w|\())|(?<!new )\bDate\(\)|\bperformance\.now\b|\bMath\.random\b|\brandom(?:Bytes|UUID|Int)\b|\bgetRandomValues\b|\bhrtime\b/;
/** Runs in browsers, as the pages do. */
const STOCK_MODULE = "dashboards/stock-module/";
const OUTSIDE_ENGINE = ["test/", "bench/"];
const HASH_TAG = /(?<!\$)\{(?:[a-z][\w-]*:|\$\{[^}]*\}:)/;
// Written so that this file does not offend.
const LUA = new RegExp(["\\bredis\\.", "p?call\\s*\\(", "|\\bredis\\.", "register_function"].join(""));
const LEFTOVER = new RegExp(`\\b(?:${["TO", "FIX"].map((half, i) => half + ["DO", "ME"][i]).join("|")})\\b`);
const MACHINE_PATH = new RegExp(`(?<![\\w.$}])/(?:${["home", "root", "Users", "work"].join("|")})/\\w+`);

const module = (path: string, text: string): SourceFile => ({ path, text });

/** What documents may name. Metrics are compared with those of a running engine, in test/app/metrics.redis.test.ts. */
const NAMES = {
  commands: new Set(["known", "help", "version", ...COMMANDS.map(({ name }) => name)]),
  options: new Set(
    COMMANDS.flatMap(({ options }) => ["--help", ...(renderOptions(options).match(/--[a-z][a-z-]*/g) ?? [])]),
  ),
  metrics: new Set<string>(),
};

const RULES: readonly { behaviour: string; rule: Rule; offenders: readonly (readonly SourceFile[])[] }[] = [
  {
    behaviour: "time and randomness come through the kernel",
    rule: nowhereBut(["engine/kernel/", "engine/boot/", WEB, STOCK_MODULE, ...OUTSIDE_ENGINE], "code", CLOCKS),
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
    behaviour: "imports point down, and rooms of one floor do not import each other",
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
    behaviour: "few modules import the Redis client",
    rule: redisHasFewClients,
    offenders: [
      [module("engine/stock/decide.ts", 'import { Redis } from "ioredis";')],
      [module("connectors/csv/a.ts", 'const { Redis } = await import("ioredis");')],
    ],
  },
  {
    behaviour: "every module is imported",
    rule: everyModuleIsImported,
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
    behaviour: "file names are descriptive and in kebab-case",
    rule: fileNamesAreDescriptive,
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
    behaviour: "the engine has few rooms and few arrows between them",
    rule: engineIsSmall,
    offenders: [Array.from({ length: 17 }, (_, i) => module(`engine/room${i}/a.ts`, ""))],
  },
  {
    behaviour: "a long function has a reason",
    rule: longFunctionsHaveReasons(REASONS),
    offenders: [
      [module("engine/a.ts", `/** x */\nexport function long() {\n${"  work();\n".repeat(80)}}`)],
      [module("engine/a.ts", `/** x */\nexport const long = () => {\n${"  work();\n".repeat(80)}};`)],
      [module("engine/a.lua", `-- x\nlocal function long()\n${"  work()\n".repeat(80)}end`)],
    ],
  },
  {
    behaviour: "a long file has a reason",
    rule: longFilesHaveReasons(REASONS),
    offenders: [[module("engine/a.ts", "//\n".repeat(401))]],
  },
  {
    behaviour: "comments are at most 120 columns wide",
    rule: commentsAreNarrow,
    offenders: [
      [module("engine/a.ts", `/** ${"x".repeat(120)} */`)],
      [module("engine/a.lua", `-- ${"x".repeat(120)}`)],
    ],
  },
  {
    behaviour: "every exported value is imported somewhere",
    rule: exportsAreImported,
    offenders: [
      [module("engine/a.ts", "/** x */\nexport const lost = 1;")],
      [
        module("engine/a.ts", "/** x */\nexport const { lost } = x;\nexport function kept() {}"),
        module("engine/b.ts", 'import { kept } from "./a.js";'),
      ],
    ],
  },
  {
    behaviour: "documents name paths that exist",
    rule: namedPathsExist,
    offenders: [
      [module("README.md", "see `engine/lost.ts`")],
      [module("README.md", "see [this](engine/lost.md)")],
      [module("engine/README.md", "see `../connectors/lost/*`")],
    ],
  },
  {
    behaviour: "documents name commands and options that exist",
    rule: namedCommandsExist(NAMES),
    offenders: [
      [module("README.md", "run `npx shuiwei lost`")],
      [module("README.md", "```sh\nshuiwei known --lost\n```")],
    ],
  },
];

const repository = filesUnder("");

describe("in this repository", () => {
  for (const { behaviour, rule } of RULES) it(behaviour, () => expect(rule(repository)).toEqual([]));

  it("every reason for length is needed", () => expect(needlessReasons(repository, REASONS)).toEqual([]));
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
  it("what is only similar to an offence", () => {
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
