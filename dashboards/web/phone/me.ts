/** The person whose phone this is, as every screen reads it: `GET /v1/people/me`. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Resource } from "../desk/use-resource.js";

/** Instants and durations as connectors/http/schemas states them; further fields are ignored. */
export interface MeAnswer {
  id: string;
  name: string;
  roles: readonly string[];
  language: "zh" | "en";
  ladder: readonly (readonly string[])[];
  quietHours?: { fromMinute: number; toMinute: number };
}

export const Me = createContext<Resource<MeAnswer> | undefined>(undefined);

export function useMe(): Resource<MeAnswer> {
  const me = useContext(Me);
  if (me === undefined) throw new Error("useMe needs its provider around the component");
  return me;
}
