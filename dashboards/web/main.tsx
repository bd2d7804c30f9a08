/** Puts the page into the document. */
import { render } from "preact";
import { App } from "./app.js";
import "./styles/index.css";

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
