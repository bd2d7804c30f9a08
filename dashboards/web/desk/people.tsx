/**
 * The people who are notified of alerts: an administrator adds and removes them, and pairs their phones by a QR code
 * that holds for one phone and ten minutes.
 */
import { useState } from "preact/hooks";
import { usePage } from "../page-context.js";
import { contactText } from "../phone/channel-text.js";
import { roleText } from "../phone/role-text.js";
import { AddPerson } from "./add-person.js";
import { write } from "./api.js";
import { PairPhone } from "./pair-phone.js";
import { Empty, Loaded, Panel } from "./panel.js";
import { useResource } from "./use-resource.js";

const EVERY_MS = 15_000;

/** `GET /v1/people` */
interface PersonList {
  people: readonly PersonAnswer[];
}

export interface PersonAnswer {
  id: string;
  name: string;
  roles: readonly string[];
  ladder: readonly (readonly string[])[];
}

export function People({ isAdmin }: { isAdmin: boolean }) {
  const { text, format } = usePage();
  const list = useResource<PersonList>("/v1/people", EVERY_MS);
  const [isAdding, setAdding] = useState(false);
  const [pairing, setPairing] = useState<PersonAnswer>();
  const [fault, setFault] = useState<string>();
  const remove = (id: string) => {
    setFault(undefined);
    write("DELETE", `/v1/people/${id}`).then(list.reload, (thrown) =>
      setFault(thrown instanceof Error ? thrown.message : String(thrown)),
    );
  };
  const number = list.answer?.people.length ?? 0;
  return (
    <Panel
      name="people"
      title={text("people")}
      note={
        <>
          {number > 0 && text("peopleNote", { number: format.units(number) })}
          {isAdmin && (
            <button type="button" class="button" onClick={() => setAdding(true)}>
              {text("addPerson")}
            </button>
          )}
        </>
      }
    >
      <Loaded resource={list}>
        {({ people }) =>
          people.length === 0 ? (
            <Empty title={text("peopleEmpty")}>{text("peopleEmptyNote")}</Empty>
          ) : (
            <ul class="person-list">
              {people.map((person) => (
                <PersonLine
                  key={person.id}
                  person={person}
                  isAdmin={isAdmin}
                  onPair={() => setPairing(person)}
                  onRemove={() => remove(person.id)}
                />
              ))}
            </ul>
          )
        }
      </Loaded>
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
      {isAdding && <AddPerson onDone={list.reload} onClose={() => setAdding(false)} />}
      {pairing !== undefined && <PairPhone person={pairing} onClose={() => setPairing(undefined)} />}
    </Panel>
  );
}

interface PersonLineProps {
  person: PersonAnswer;
  isAdmin: boolean;
  onPair: () => void;
  onRemove: () => void;
}

function PersonLine({ person: { id, name, roles, ladder }, isAdmin, onPair, onRemove }: PersonLineProps) {
  const { text } = usePage();
  const [isAsking, setAsking] = useState(false);
  return (
    <li class="person" data-testid="person">
      <span class="person-who">
        <b>{name}</b>
        <small>{[id, ...roles.map((role) => roleText(text, role))].join(" · ")}</small>
        <small>{ladder.map((step) => step.map((contact) => contactText(text, contact)).join(" + ")).join(" → ")}</small>
      </span>
      {isAdmin && (
        <span class="buttons">
          <button type="button" class="button" onClick={onPair}>
            {text("pairPhone")}
          </button>
          <button
            type="button"
            class="button"
            aria-label={text("removePerson", { name })}
            onClick={() => (isAsking ? onRemove() : setAsking(true))}
            onBlur={() => setAsking(false)}
          >
            {text(isAsking ? "removeSure" : "remove")}
          </button>
        </span>
      )}
    </li>
  );
}
