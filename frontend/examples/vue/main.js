import { createApp } from "vue";
import Essays from "./Essays.vue";

createApp(Essays).mount("#app");
