// What all three start from: a connection and a store, for the teacher of `make demo`.
import { connect } from "@doorstep/client";
import { createBatchStore } from "@doorstep/client/state";

const user_id = "teacher-astrid-berg";

/** A token of hers: of your identity provider, in your page. */
async function token() {
  const body = JSON.stringify({ user_id });
  const answer = await fetch("/demo/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return /** @type {string} */ ((await answer.json()).token);
}

export const store = createBatchStore();

export const connection = connect({
  url: location.origin,
  token,
  async load(_why, signal) {
    const headers = { Authorization: `Bearer ${await token()}` };
    const answer = await fetch(`/v1/batches/user/${user_id}`, { headers, signal });
    store.fetched((await answer.json()).batches);
  },
});

connection.onAny(store.notified);

/** Every file as a line of text. */
export function lines() {
  const files = [...store.batches().values()].flatMap(({ fileUploads }) => [...fileUploads.values()]);
  return files.map((file) => `${file.filename}: ${file.assignedEssayId ?? file.errorDetail?.message ?? file.status}`);
}
