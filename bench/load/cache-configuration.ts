/**
 * Configurations of caches as an operator makes them ready: copied, with values in place of the placeholders; and a
 * main configuration for nginx that touches nothing outside its folder. The tests of connectors/cdn use both, too.
 */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Copies a folder of configurations and replaces the placeholders.
 * @param files to use instead of those of the folder, by name
 */
export async function renderConfiguration(
  from: URL | string,
  to: string,
  values: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Promise<void> {
  await cp(from, to, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(to, name), text);
  const placeholder = new RegExp(`\\b(?:${Object.keys(values).join("|")})\\b`, "g");
  for (const name of await readdir(to)) {
    const text = await readFile(join(to, name), "utf8");
    const rendered = text.replace(placeholder, (found) => values[found] as string);
    await writeFile(join(to, name), rendered);
  }
}

/**
 * Writes `nginx.conf`: one worker, in the foreground.
 * @param inside what is in `http { }`
 * @returns its path
 */
export async function writeNginxConf(dir: string, connections: number, inside: string): Promise<string> {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const lines = [
    // Workers of a master that is root would have no right to write into the folder.
    ...(process.getuid?.() === 0 ? ["user root;"] : []),
    `daemon off; pid ${join(dir, "nginx.pid")}; error_log stderr error; worker_processes 1;`,
    // As the README of connectors/cdn says, also for what a benchmark compares with.
    "pcre_jit on;",
    `events { worker_connections ${connections}; }`,
    "http {",
    "access_log off;",
    ...temporary.map((name) => `${name}_temp_path ${join(dir, name)};`),
    inside,
    "}",
  ];
  const file = join(dir, "nginx.conf");
  await writeFile(file, lines.join("\n"));
  return file;
}
