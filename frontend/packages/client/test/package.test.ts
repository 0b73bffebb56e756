import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import * as React from "react";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";
import { connect } from "../src/index.ts";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const entries = Object.values<string>(manifest.exports).filter((file) => file.endsWith(".js"));

test("a page that installs it installs nothing else", () => {
  expect(manifest.dependencies).toBeUndefined();
  expect(manifest.sideEffects).toBe(false);
});

/** What every engine has, browser or not. */
const language = new Set<string | symbol>(runInNewContext("Object.getOwnPropertyNames(globalThis)"));

/** The names of globals that a script looks at, of those that are not the language's own. */
function globalsOf(code: string): string[] {
  const names = new Set<string>();
  const globals = new Proxy({} as Record<string | symbol, unknown>, {
    get(target, name) {
      if (name === "globalThis") return globals;
      if (language.has(name)) return Reflect.get(globalThis, name);
      names.add(String(name));
      return name === "React" ? React : target[name];
    },
  });
  runInNewContext(code, globals);
  return [...names].filter((name) => !["React", "entry"].includes(name));
}

async function bundled(entry: string): Promise<string> {
  const source = entry.replace("/dist/", "/src/").replace(".js", ".ts");
  const bundle = await rolldown({ input: fileURLToPath(new URL(`../${source}`, import.meta.url)), external: ["react"] });
  const { output } = await bundle.generate({ format: "iife", name: "entry", globals: { react: "React" } });
  return output[0].code;
}

test.each(entries)("importing %s touches no global", async (entry) => {
  expect(globalsOf(await bundled(entry))).toEqual([]);
});

test("what touches a global is noticed", () => {
  expect(globalsOf("var entry = globalThis.navigator?.locks")).toEqual(["navigator"]);
  expect(globalsOf("var entry = typeof document")).toEqual(["document"]);
});

test("in Node it polls where there is no WebSocket, or none gets through", async () => {
  const notification = { event: "class.renamed", id: "a", seq: 1, cursor: "1-x", data: {} };
  const page = (after: string | null) => (after === "0-x" ? [notification] : []);
  const server = createServer(({ url = "" }, answer) => {
    const after = new URL(url, "http://localhost").searchParams.get("after");
    const cursor = after || "0-x";
    answer.end(JSON.stringify({ notifications: page(after), cursor: page(after).length ? "1-x" : cursor, reset: !after }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const connection = connect({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: () => "token",
    clock: {
      now: () => performance.now(),
      setTimeout: (callback, ms) => setTimeout(callback, ms),
      clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
      random: () => 0,
    },
  });
  try {
    const seen = new Promise<number>((done) => connection.onAny(({ seq }) => done(seq)));
    connection.start();
    expect(await seen).toBe(1);
    await expect.poll(() => connection.status.state).toBe("polling");
  } finally {
    connection.stop();
    server.closeAllConnections();
    server.close();
  }
});
