import { connection, lines, store } from "../doorstep.js";

const [status, files] = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("#status, #files")]);

connection.subscribe(() => void (status && (status.textContent = connection.status.state)));
store.subscribe(() => files?.replaceChildren(...lines().map((text) => Object.assign(document.createElement("li"), { textContent: text }))));
connection.start();
