/** The options by which an operator's command finds a deployment, and those of every command that prints JSON. */
import { redisOptions } from "../redis/options.js";
import { streamOptions } from "../stream/options.js";

const { redisUrl, dir } = redisOptions;
const { prefix } = streamOptions;

export const targetOptions = { redisUrl, dir };
export const deploymentOptions = { redisUrl, dir, prefix };
