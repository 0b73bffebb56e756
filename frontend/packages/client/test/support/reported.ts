/** What is reported as of promises that nobody handles, while something is done. */
export async function reportedWhile(act: () => unknown): Promise<unknown[]> {
  const others = process.listeners("unhandledRejection");
  const reported: unknown[] = [];
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", (error) => reported.push(error));
  try {
    await act();
    await new Promise((done) => setImmediate(done));
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
  }
  return reported;
}
