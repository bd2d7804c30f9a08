/**
 * What documents name has to exist: paths and links, commands, options and metrics. Only what stands in backticks or
 * in a link is checked, in Markdown files.
 */
import { dirname, join, normalize } from "node:path/posix";
import { isUnder, type Rule, type SourceFile } from "./source-files.js";

/** What the product has by name. */
export interface ProductNames {
  /** Of `shuiwei`. */
  commands: ReadonlySet<string>;
  /** With their dashes. */
  options: ReadonlySet<string>;
  /** In full, without the suffixes of histograms. */
  metrics: ReadonlySet<string>;
}

const isDocument = ({ path }: SourceFile): boolean => path.endsWith(".md");
const quoted = (text: string): string[] => [
  ...[...text.matchAll(/```[^\n]*\n([\s\S]*?)```/g)].map((block) => block[1] as string),
  ...[...text.replace(/```[\s\S]*?```/g, "").matchAll(/`([^`\n]+)`/g)].map((span) => span[1] as string),
];

const TOP = ["engine/", "connectors/", "dashboards/", "bench/", "test/", "packaging/"];
const PATH = /^(?:\.{1,2}\/)*[\w.-]+(?:\/[\w.*-]+)*\/?$/;

export const namedPathsExist: Rule = (files) => {
  const paths = files.map(({ path }) => path);
  const exists = (name: string): boolean => {
    const stem = normalize(name).replace(/\*.*$/, "").replace(/\/$/, "");
    return paths.some(
      (path) => path === stem || path.startsWith(`${stem}/`) || (name.includes("*") && path.startsWith(stem)),
    );
  };
  return files.filter(isDocument).flatMap(({ path, text }) => {
    const spans = quoted(text).filter((span) => PATH.test(span) && (isUnder(span, ...TOP) || span.startsWith("../")));
    const links = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map((link) => link[1] as string);
    const lost = [
      ...spans.filter((name) => !exists(name) && !exists(join(dirname(path), name))),
      ...links.filter((name) => !exists(join(dirname(path), name))),
    ];
    return [...new Set(lost)].map((name) => `${path}: ${name}`);
  });
};

export const namedCommandsExist =
  ({ commands, options }: ProductNames): Rule =>
  (files) =>
    files.filter(isDocument).flatMap(({ path, text }) => {
      const calls = quoted(text).flatMap((span) => [
        ...span.matchAll(/(?:^|npx |\s)shuiwei ([a-z][a-z-]*)([^\n|;&]*)/g),
      ]);
      const lost = calls.flatMap(([, command = "", rest = ""]) => [
        ...(commands.has(command) ? [] : [`shuiwei ${command}`]),
        ...[...rest.matchAll(/--[a-z][a-z-]*/g)].map(([option]) => option).filter((option) => !options.has(option)),
      ]);
      return [...new Set(lost)].map((name) => `${path}: ${name}`);
    });

export const namedMetricsExist =
  ({ metrics }: ProductNames): Rule =>
  (files) =>
    files
      .filter((file) => isDocument(file) || isUnder(file.path, "dashboards/grafana/", "packaging/"))
      .flatMap(({ path, text }) =>
        [...new Set(text.match(/\bshuiwei_[a-z0-9_]+(?![a-z0-9_*]|\w)/g) ?? [])]
          .filter((name) => !metrics.has(name) && !metrics.has(name.replace(/_(bucket|sum|count)$/, "")))
          .filter((name) => !(name.endsWith("_") && [...metrics].some((metric) => metric.startsWith(name))))
          .map((name) => `${path}: ${name}`),
      );
