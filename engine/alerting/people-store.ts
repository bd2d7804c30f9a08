/**
 * The people who are notified, in one Redis hash that all processes read and write. Each part of a person is a field of
 * its own, so that an administrator who changes a name and a person who changes their quiet hours do not overwrite each
 * other. What is read is at most a second old. It checks nothing but the number of people: the HTTP API checks content.
 */
import { alertingKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type Fields, HashCache } from "./hash-cache.js";
import type { Person } from "./people.js";

/** A shop has tens of people who are notified; a list of them is one answer. */
export const MAX_PEOPLE = 500;

/** What people change themselves. `quietHours: null` removes them. */
export type OwnSettings = Partial<Pick<Person, "language" | "ladder">> & {
  readonly quietHours?: NonNullable<Person["quietHours"]> | null;
};

/** Without this part there is no person: others may be left over from a removal at the same moment. */
const IDENTITY = "identity";
const PARTS = [IDENTITY, "language", "ladder", "quietHours"] as const;

type StoredIdentity = Pick<Person, "name" | "roles" | "wecomUserId">;

export class PeopleStore {
  readonly #hash: HashCache<readonly Person[]>;

  constructor(redis: RedisClient, prefix: string) {
    this.#hash = new HashCache(redis, alertingKeys(prefix).people, peopleOf);
  }

  /** Adds or replaces a person. Safe to repeat. @returns `too_many` when there are MAX_PEOPLE others */
  put(person: Person): Promise<"created" | "replaced" | "too_many"> {
    return this.#hash.inTurn(() => this.#put(person));
  }

  async #put(person: Person): Promise<"created" | "replaced" | "too_many"> {
    const people = await this.#hash.readNow();
    const isKnown = people.some(({ id }) => id === person.id);
    if (!isKnown && people.length >= MAX_PEOPLE) return "too_many";
    const { id, name, roles, wecomUserId, language, ladder, quietHours } = person;
    const identity: StoredIdentity = { name, roles, ...(wecomUserId === undefined ? {} : { wecomUserId }) };
    await this.#hash.write({
      [`${id}/${IDENTITY}`]: JSON.stringify(identity),
      [`${id}/language`]: JSON.stringify(language),
      [`${id}/ladder`]: JSON.stringify(ladder),
      [`${id}/quietHours`]: JSON.stringify(quietHours ?? null),
    });
    return isKnown ? "replaced" : "created";
  }

  /** Changes the given settings alone. @returns the person as it is then; undefined: there is none */
  async change(id: string, settings: OwnSettings): Promise<Person | undefined> {
    const find = async () => (await this.#hash.readNow()).find((each) => each.id === id);
    const known = await find();
    if (!known || Object.keys(settings).length === 0) return known;
    await this.#hash.write(
      Object.fromEntries(Object.entries(settings).map(([part, value]) => [`${id}/${part}`, JSON.stringify(value)])),
    );
    return find();
  }

  /** A person as it was within the last second; undefined: there is none. */
  async get(id: string): Promise<Person | undefined> {
    return (await this.list()).find((each) => each.id === id);
  }

  /** All people, by their ids, as they were within the last second. */
  list(): Promise<readonly Person[]> {
    return this.#hash.read();
  }

  /** @returns false when there was none */
  async remove(id: string): Promise<boolean> {
    const isKnown = (await this.#hash.readNow()).some((each) => each.id === id);
    await this.#hash.write(
      {},
      PARTS.map((part) => `${id}/${part}`),
    );
    return isKnown;
  }
}

function peopleOf(fields: Fields): Person[] {
  const part = <Value>(id: string, name: (typeof PARTS)[number]): Value | undefined => {
    const text = fields[`${id}/${name}`];
    return text === undefined ? undefined : (JSON.parse(text) as Value);
  };
  return Object.keys(fields)
    .filter((field) => field.endsWith(`/${IDENTITY}`))
    .map((field) => field.slice(0, -IDENTITY.length - 1))
    .sort()
    .map((id) => {
      const quietHours = part<Person["quietHours"] | null>(id, "quietHours");
      return {
        id,
        ...(part<StoredIdentity>(id, IDENTITY) as StoredIdentity),
        language: part<Person["language"]>(id, "language") ?? "zh",
        ladder: part<Person["ladder"]>(id, "ladder") ?? [],
        ...(quietHours ? { quietHours } : {}),
      };
    });
}
