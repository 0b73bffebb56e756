export { connect } from "./connect.ts";
export type * from "./types.ts";
