import { type ReactElement, useCallback, useEffect, useState } from "react";
import { App } from "./App.tsx";
import { type Desk, createDesk } from "./desk.ts";
import { type Teacher, samples, session, teachers, wordsOf } from "./services.ts";

/** Finds out who can be signed in as and where Doorstep is; then there is a desk for everybody. */
export function Start(): ReactElement {
  const [desks, setDesks] = useState<readonly Desk[]>([]);
  const [problem, setProblem] = useState("");
  const look = useCallback(async () => {
    setProblem("");
    try {
      setDesks(await openDesks());
    } catch (error) {
      setProblem(wordsOf(error));
    }
  }, []);
  useEffect(() => void look(), [look]);
  const [first] = desks;
  if (first) return <App desks={desks} first={desks.find(({ teacher }) => teacher.user_id === wanted()) ?? first} />;
  return (
    <main className="start">
      <h1>Doorstep</h1>
      <p role="status">{problem ? `The demo can’t be reached. ${problem}` : "One moment …"}</p>
      {problem && (
        <button type="button" onClick={look}>
          Try again
        </button>
      )}
    </main>
  );
}

/** Who is signed in stands in the address, in a place of its own: a link to a part of the page changes nothing. */
export const wanted = (): string | null => new URLSearchParams(location.search).get("teacher");

async function openDesks(): Promise<readonly Desk[]> {
  const [all, essays] = await Promise.all([teachers(), samples()]);
  const [first] = all;
  if (!first) return [];
  const { websocket_url: url } = await session(first.user_id);
  return all.map((teacher: Teacher) => createDesk(teacher, url, essays));
}
