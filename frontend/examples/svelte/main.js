import { mount } from "svelte";
import Essays from "./Essays.svelte";

mount(Essays, { target: /** @type {HTMLElement} */ (document.getElementById("app")) });
