/** Whose token is in the subprotocol, `bearer.<JWT>`: the JWT's middle says so. */
export function userOf(protocol: string | undefined): string | undefined {
  try {
    return JSON.parse(atob(protocol!.split(".")[2]!.replace(/-/g, "+").replace(/_/g, "/"))).sub;
  } catch {
    return undefined;
  }
}
