/** Puts the phone page into its document and registers its service worker. */
import { render } from "preact";
import "../styles/phone.css";
import { Phone } from "./phone.js";
import { renewRegistration } from "./push-subscription.js";
import { registerWorker } from "./worker-registration.js";

const root = document.getElementById("app");
if (root !== null) render(<Phone />, root);
registerWorker();
void renewRegistration();
