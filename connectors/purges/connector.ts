/**
 * The option of purges as a line of the table of connectors. What the file states is read when the engine is put
 * together, before any sink is opened.
 */
import { defineConnector } from "../connector.js";
import { purgesOptions } from "./options.js";

export const purgesConnector = defineConnector({ name: "purges", options: purgesOptions });
