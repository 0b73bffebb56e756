import { expect, test } from "vitest";
import { quantile } from "../src/logbook.ts";
import { difference } from "../src/services.ts";

test("a quantile is one of the values", () => {
  const values = [5, 1, 4, 2, 3];
  expect([0, 0.5, 0.99, 1].map((share) => quantile(values, share))).toEqual([1, 3, 5, 5]);
  expect(quantile([], 0.5)).toBeUndefined();
});

test("clocks differ where the answer is not between question and answer", () => {
  expect(difference(105, 100, 110)).toBe(0);
  expect(difference(305, 100, 110)).toBe(200);
  expect(difference(5, 100, 110)).toBe(-100);
});
