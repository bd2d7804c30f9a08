/**
 * The options of alerts and channels as a line of the table of connectors. What the file states is read when the engine
 * is put together, before any sink is opened.
 */
import { defineConnector } from "../connector.js";
import { channelsOptions } from "./options.js";

export const channelsConnector = defineConnector({ name: "channels", options: channelsOptions });
