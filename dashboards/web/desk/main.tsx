/** Puts the desk into its document. */
import { render } from "preact";
import { Desk } from "./desk.js";
import "../styles/desk.css";

const root = document.getElementById("app");
if (root !== null) render(<Desk />, root);
