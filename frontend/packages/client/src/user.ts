import { SUBPROTOCOL_PREFIX } from "./contract.generated.ts";

/** Whose token is in the subprotocol: a JWT says so. */
export function userOf(protocol: string): string | undefined {
  try {
    const [, payload = ""] = protocol.slice(SUBPROTOCOL_PREFIX.length).split(".");
    return JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))).sub;
  } catch {
    return undefined;
  }
}
