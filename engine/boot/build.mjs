/** Builds dist when it is not up to date, with the packages that this needs: before `npm pack`, and for an image. */
import { fail, setUp } from "./setup.mjs";

await setUp({ dev: true, redis: false, build: true }).catch(fail);
