// @vitest-environment jsdom
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createBatchStore } from "../../src/state/index.ts";
import { reportedWhile } from "../support/reported.ts";
import { type Upload, type Uploader, createUploader } from "../../src/upload/index.ts";

/** A File Service: what came, and how it answers. */
let server: Server;
let url: string;
let requests: { key: string; token: string; body: string }[];
let answer: (response: ServerResponse, index: number) => void;

const accept = (response: ServerResponse, index: number): void => {
  const files = [{ file_upload_id: `id-${index}`, filename: "x" }];
  response.writeHead(202, CORS).end(JSON.stringify({ batch_id: "b1", correlation_id: "c1", files }));
};
const refuse = (status: number, body = ""): typeof accept => (response) => void response.writeHead(status, CORS).end(body);
const CORS = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Authorization, Idempotency-Key" };

async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "OPTIONS") return void response.writeHead(204, CORS).end();
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  const { authorization = "", "idempotency-key": key } = request.headers;
  answer(response, requests.push({ key: String(key), token: authorization, body }) - 1);
}

beforeEach(async () => {
  requests = [];
  answer = accept;
  server = createServer((request, response) => void take(request, response).catch(() => response.destroy()));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/files/batch`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const file = (name: string, text = "An essay."): File => new File([text], name, { type: "text/plain" });
const states = (uploader: Uploader): string[] => uploader.uploads().map(({ state }) => state);
const settled = (uploader: Uploader): Promise<readonly Upload[]> =>
  vi.waitFor(() => {
    expect(states(uploader).filter((state) => state === "queued" || state === "sending")).toEqual([]);
    return uploader.uploads();
  });

test("each file has its own request, key, progress and tracking id, and the store hears of it", async () => {
  const store = createBatchStore();
  const uploader = createUploader({ url, token: () => "t", uploaded: store.uploaded });
  const seen: number[] = [];
  uploader.subscribe(() => seen.push(...uploader.uploads().map(({ progress }) => progress)));
  uploader.add("b1", ["Åsa.txt", "Tom.txt", "3.txt", "4.txt"].map((name) => file(name, "x".repeat(100_000))));
  expect(states(uploader)).toEqual(["sending", "sending", "sending", "queued"]);
  const done = await settled(uploader);
  expect(done.map(({ state, progress, correlationId }) => [state, progress, correlationId])).toEqual(Array(4).fill(["sent", 1, "c1"]));
  expect(new Set(done.map(({ fileUploadId }) => fileUploadId)).size).toBe(4);
  expect(new Set(requests.map(({ key }) => key))).toEqual(new Set(done.map(({ key }) => key)));
  expect(requests[0]?.body).toContain("b1");
  expect(seen.every((progress) => progress >= 0 && progress <= 1)).toBe(true);
  expect(seen.some((progress) => progress > 0)).toBe(true);
  const names = [...store.batch("b1").fileUploads.values()].map(({ filename, status }) => [filename, status]);
  expect(names.sort()).toEqual(["3.txt", "4.txt", "Tom.txt", "Åsa.txt"].map((name) => [name, "processing"]));
});

test("a retry has the key of the first try, whatever became of that", async () => {
  answer = (response) => response.destroy();
  const uploader = createUploader({ url, token: () => "t" });
  const [{ key } = { key: "" }] = uploader.add("b1", [file("a.txt")]);
  const [lost] = await settled(uploader);
  expect(lost).toMatchObject({ state: "failed", problem: { code: "unreachable", retryable: true } });
  answer = accept;
  uploader.retry(key);
  const [sent] = await settled(uploader);
  expect(sent?.state).toBe("sent");
  expect(sent?.problem).toBeUndefined();
  expect(requests.map((request) => request.key)).toEqual([key, key]);
  uploader.retry(key);
  expect(states(uploader)).toEqual(["sent"]);
});

test("a rejected token is asked for anew, once", async () => {
  answer = (response, index) => (index < 3 ? refuse(401)(response, index) : accept(response, index));
  const reasons: string[] = [];
  const token = (why: string): string => `t${reasons.push(why)}`;
  const uploader = createUploader({ url, token });
  const [{ key } = { key: "" }] = uploader.add("b1", [file("a.txt")]);
  const [failed] = await settled(uploader);
  expect(failed).toMatchObject({ state: "failed", problem: { code: "http_401", retryable: false } });
  uploader.retry(key);
  expect((await settled(uploader))[0]?.state).toBe("sent");
  expect(reasons).toEqual(["connect", "rejected", "connect", "rejected"]);
  expect(requests.map((request) => request.token)).toEqual(["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t4"]);
});

test.each([
  [503, "", { code: "http_503", retryable: true }],
  [429, '{"code":"slow_down","detail":"Later."}', { code: "slow_down", detail: "Later.", retryable: true }],
  [404, '{"code":"batch_not_found","detail":"You have no batch b1."}', { code: "batch_not_found", retryable: false }],
  [202, "<html>", { code: "http_202" }],
  [422, '{"detail":[{"loc":["body"],"msg":"field required"}]}', { code: "http_422", detail: "The server answered 422." }],
])("an answer of %i says what is wrong", async (status, body, problem) => {
  answer = refuse(status, body);
  const uploader = createUploader({ url, token: () => "t" });
  uploader.add("b1", [file("a.txt")]);
  expect((await settled(uploader))[0]?.problem).toMatchObject(problem);
});

test("no token, no upload, and why", async () => {
  const uploader = createUploader({ url, token: () => Promise.reject(new Error("The identity provider is down.")) });
  uploader.add("b1", [file("a.txt")]);
  const [failed] = await settled(uploader);
  expect(failed?.problem).toMatchObject({ code: "token_unavailable", detail: "The identity provider is down.", retryable: true });
  expect(requests).toEqual([]);
});

test("abort stops one file, queued or being sent; the others go on", async () => {
  answer = () => undefined;
  const uploader = createUploader({ url, token: () => "t", parallel: 1 });
  const keys = uploader.add("b1", [file("a.txt"), file("b.txt"), file("c.txt")]).map(({ key }) => key);
  await vi.waitFor(() => expect(requests).toHaveLength(1));
  answer = accept;
  uploader.abort(keys[1] ?? "");
  uploader.abort(keys[0] ?? "");
  await settled(uploader);
  expect(states(uploader)).toEqual(["aborted", "aborted", "sent"]);
  uploader.retry(keys[0] ?? "");
  await settled(uploader);
  expect(states(uploader)).toEqual(["sent", "aborted", "sent"]);
});

test("an upload that waits for its token too long fails, and gives way to the next", async () => {
  const uploader = createUploader({ url, token: () => new Promise(() => {}), parallel: 1, stalledMs: 50 });
  uploader.add("b1", [file("a.txt"), file("b.txt")]);
  const done = await settled(uploader);
  expect(done.map(({ state, problem }) => [state, problem?.code])).toEqual(Array(2).fill(["failed", "token_unavailable"]));
});

test("a listener that throws makes no upload fail", async () => {
  const fail = (): never => {
    throw new Error("mine");
  };
  const reported = await reportedWhile(async () => {
    const uploader = createUploader({ url, token: () => "t", uploaded: fail });
    uploader.subscribe(fail);
    uploader.add("b1", [file("a.txt")]);
    expect((await settled(uploader))[0]?.state).toBe("sent");
  });
  expect(new Set(reported.map(String))).toEqual(new Set(["Error: mine"]));
});

test("an upload that gets nowhere fails", async () => {
  answer = () => undefined;
  const uploader = createUploader({ url, token: () => "t", stalledMs: 50 });
  uploader.add("b1", [file("a.txt")]);
  expect((await settled(uploader))[0]).toMatchObject({ state: "failed", problem: { code: "unreachable" } });
});
