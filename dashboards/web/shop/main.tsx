/** Puts the demo's storefront into its document. */
import { render } from "preact";
import "../styles/shop.css";
import { Shop } from "./shop.js";

const root = document.getElementById("app");
if (root !== null) render(<Shop />, root);
