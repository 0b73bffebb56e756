import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Ajv, type AnySchemaObject } from "ajv";
import { expect, test } from "vitest";

const readJson = (path: string | URL): AnySchemaObject => JSON.parse(readFileSync(path, "utf8"));
const meta = readJson(createRequire(import.meta.url).resolve("@asyncapi/specs/schemas/3.0.0.json"));
const contract = readJson(new URL("../../../../docs/asyncapi.json", import.meta.url));

/** AsyncAPI's schema brings draft-07's along, which Ajv knows already. */
delete meta["definitions"]["http://json-schema.org/draft-07/schema"];
const validate = new Ajv({ strict: false, validateFormats: false }).compile(meta);

const at = (pointer: string): unknown =>
  pointer.split("/").slice(1).reduce<unknown>((value, name) => (value as Record<string, unknown>)?.[name], contract);

test("docs/asyncapi.json is AsyncAPI 3", () => {
  expect(validate(contract) || validate.errors).toBe(true);
  expect(validate({ ...contract, operations: { notify: { action: "shout" } } })).toBe(false);
});

test("every reference in it leads somewhere", () => {
  const references = [...JSON.stringify(contract).matchAll(/"\$ref":"#([^"]*)"/g)].map(([, pointer = ""]) => pointer);
  expect(references.length).toBeGreaterThan(10);
  expect(references.filter((pointer) => at(pointer) === undefined)).toEqual([]);
});
