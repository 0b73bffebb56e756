/** The services around Doorstep, as the demo serves them on the page's own port. */

import type { TokenReason } from "@doorstep/client";
import type { RasBatch } from "@doorstep/client/state";
import type { Cable } from "./cable.ts";

/** How long a service may take to answer. */
const PATIENCE_MS = 10_000;

/** Somebody who can be signed in as. */
export interface Teacher {
  readonly user_id: string;
  readonly name: string;
  readonly course_code: string;
  readonly course: string;
}

export interface Session {
  readonly token: string;
  readonly expires_in_s: number;
  readonly websocket_url: string;
  /** When it was made, by the server's clock; ISO 8601. */
  readonly server_time: string;
}

/** A batch as RAS lists it. */
export interface ListedBatch extends RasBatch {
  readonly created_at: string;
}

/** What a file of the samples is. */
interface Sample {
  readonly name: string;
  readonly text: string;
}

/** What one teacher's page asks of them. Everything rejects with an error that a teacher can read. */
export interface Services {
  /** Also an identity provider's callback: for `connect`, a token that is good for a while yet will do. */
  token(why?: TokenReason, signal?: AbortSignal): Promise<string>;
  /** Makes room for so many essays; the batch's id. */
  register(essays: number): Promise<string>;
  batches(signal?: AbortSignal): Promise<readonly ListedBatch[]>;
  /** By how many ms the server's clock is ahead of this page's. */
  readonly clockAheadMs: number;
}

/** Everybody who can be signed in as. */
export const teachers = (): Promise<readonly Teacher[]> => call("demo/teachers", {});

/** Essays to try the demo with. */
export async function samples(): Promise<readonly File[]> {
  const all: readonly Sample[] = await call("demo/samples", {});
  return all.map(({ name, text }) => new File([text], name, { type: "text/plain" }));
}

/** A token, and where Doorstep is. */
export const session = (userId: string, signal?: AbortSignal): Promise<Session> =>
  call("demo/session", { ...posted({ user_id: userId }), ...(signal && { signal }) });

export function createServices({ user_id: userId, course_code }: Teacher, cable: Cable): Services {
  let signedIn: Promise<Session> | undefined;
  let freshUntil = 0;
  let clockAheadMs = 0;

  async function signIn(signal?: AbortSignal): Promise<Session> {
    const began = epochNow();
    const answer = await through((limit) => session(userId, limit), signal);
    freshUntil = performance.now() + answer.expires_in_s * 500;
    clockAheadMs = difference(Date.parse(answer.server_time), began, epochNow());
    return answer;
  }
  async function token(why: TokenReason = "connect", signal?: AbortSignal): Promise<string> {
    if (cable.state !== "whole" || why !== "connect" || performance.now() > freshUntil) signedIn = undefined;
    signedIn ??= signIn(signal);
    try {
      return (await signedIn).token;
    } catch (error) {
      signedIn = undefined;
      throw error;
    }
  }
  function through<T>(request: (signal: AbortSignal) => Promise<T>, outer?: AbortSignal): Promise<T> {
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const signal = outer ? AbortSignal.any([outer, limit]) : limit;
    return cable.pass(() => request(signal), signal);
  }
  async function ask<T>(path: string, init: RequestInit = {}, outer?: AbortSignal): Promise<T> {
    const Authorization = `Bearer ${await token("connect", outer)}`;
    return through((signal) => call<T>(path, { ...init, signal, headers: { ...init.headers, Authorization } }), outer);
  }

  return {
    token,
    get clockAheadMs() {
      return clockAheadMs;
    },
    async register(essays) {
      const wanted = posted({ expected_essay_count: essays, course_code });
      return (await ask<{ batch_id: string }>("v1/batches/register", wanted)).batch_id;
    },
    async batches(signal) {
      return (await ask<{ batches: ListedBatch[] }>(`v1/batches/user/${userId}`, {}, signal)).batches;
    },
  };
}

/** By how much a clock is ahead that was read between two moments; 0 where it may have been none. */
export function difference(read: number, earliest: number, latest: number): number {
  return read >= earliest && read <= latest ? 0 : read - (earliest + latest) / 2;
}

/** What an error is to a teacher. */
export function wordsOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") return "The server did not answer in time.";
  if (error instanceof TypeError) return "There is no connection to the server.";
  return error instanceof Error ? error.message : String(error);
}

/** Now in milliseconds since 1970, by a clock that only goes forward. */
export const epochNow = (): number => performance.timeOrigin + performance.now();

const posted = (body: object): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** JSON of a service. Rejects with the service's own words. */
async function call<T>(path: string, init: RequestInit): Promise<T> {
  const answer = await fetch(path, init);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `The server answered ${answer.status}.`);
  return body;
}
