/**
 * Expands the targets of a route into recipients, each with a ladder of addresses. Contacts that cannot be used are
 * left out: a device that is not paired any more, a channel that is not configured, an endpoint that does not exist. A
 * person without any usable contact is not reached and counts as nobody. Pure.
 */
import type { AlertEndpoint, Directory } from "./directory.js";
import type { Address, Recipient } from "./notification.js";
import type { ContactName, Person } from "./people.js";
import type { RouteTarget } from "./route.js";

export const personKey = (id: string): string => `person:${id}`;
export const endpointKey = (name: string): string => `endpoint:${name}`;

/** After so many pushes of which nothing was displayed a device's owner is reached by the next step at once, too. */
export const SILENT_PUSHES = 3;

export interface Reached {
  readonly recipients: readonly Recipient[];
  /** Targets, and keys of people, that nobody is reached by. */
  readonly unreachable: readonly string[];
}

/** The recipients of targets, each once, in the order of the targets. */
export function recipientsOf(targets: readonly RouteTarget[], directory: Directory): Reached {
  const found = new Map<string, Recipient>();
  const unreachable = new Set<string>();
  const addPerson = (person: Person): void => {
    const recipient = personRecipient(person, directory);
    if (recipient) found.set(recipient.key, recipient);
    else unreachable.add(personKey(person.id));
  };
  for (const target of targets) {
    const endpoint = directory.endpoints.find(({ name }) => endpointKey(name) === target);
    const people = directory.people.filter((person) => isOf(target, person));
    if (endpoint) found.set(target, endpointRecipient(endpoint));
    else if (people.length > 0) people.forEach(addPerson);
    else unreachable.add(target);
  }
  return { recipients: [...found.values()], unreachable: [...unreachable] };
}

const isOf = (target: RouteTarget, { id, roles }: Person): boolean =>
  target === "everybody" ||
  target === personKey(id) ||
  (target.startsWith("role:") && roles.includes(target.slice("role:".length)));

function personRecipient(person: Person, directory: Directory): Recipient | undefined {
  const { id, language, quietHours } = person;
  const ladder = ladderOf(person, directory);
  if (ladder.length === 0) return undefined;
  return { key: personKey(id), language, ladder, ...(quietHours && { quietHours }) };
}

const endpointRecipient = ({ name, channel, language, traits }: AlertEndpoint): Recipient => ({
  key: endpointKey(name),
  language,
  ladder: [[{ channel, to: name, traits }]],
});

/** Steps without a usable contact are left out; the step after one with a silent device is joined with it. */
function ladderOf(person: Person, directory: Directory): Address[][] {
  const { devices } = directory;
  const isSilent = ({ channel, to }: Address): boolean =>
    devices.some((device) => device.channel === channel && device.id === to && device.silentPushes >= SILENT_PUSHES);
  const ladder: Address[][] = [];
  let joins = false;
  for (const contacts of person.ladder) {
    const step = contacts.flatMap((contact) => addressesOf(contact, person, directory));
    if (step.length === 0) continue;
    const last = ladder.at(-1);
    if (last && joins) last.push(...step);
    else ladder.push(step);
    joins = !joins && step.some(isSilent);
  }
  return ladder;
}

function addressesOf(contact: ContactName, { id, wecomUserId }: Person, directory: Directory): Address[] {
  const endpoint = directory.endpoints.find(({ name }) => endpointKey(name) === contact);
  if (endpoint) return [{ channel: endpoint.channel, to: endpoint.name, traits: endpoint.traits }];
  const traits = directory.personChannels.get(contact);
  if (!traits) return [];
  if (contact === "wecom") return wecomUserId === undefined ? [] : [{ channel: contact, to: wecomUserId, traits }];
  const own = directory.devices.filter(({ person, channel }) => person === id && channel === contact);
  return own.map((device) => ({ channel: contact, to: device.id, traits }));
}
