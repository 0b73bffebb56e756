export { connect } from "./connect.ts";
export type * from "./contract.generated.ts";
export type * from "./types.ts";
