// Reads every golden vector and compares it with what it should mean.
// Usage: node decode.mjs DIRECTORY. Prints one line a vector; exits with 1 where one was read differently.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { decode } from "./message.mjs";

const directory = process.argv[2];
let failed = 0;
for (const name of readdirSync(directory).filter((file) => file.endsWith(".json")).sort()) {
  const vector = JSON.parse(readFileSync(join(directory, name), "utf8"));
  let got = null;
  let why = "";
  try {
    got = decode(vector.parts.map((part) => Buffer.from(part, "base64")));
  } catch (error) {
    why = error.message;
  }
  const right = isDeepStrictEqual(got, vector.expected) || (got === null && vector.may_reject === true);
  failed += right ? 0 : 1;
  console.log(`${right ? "ok" : "WRONG"} ${name} ${why}`.trim());
}
process.exitCode = failed === 0 ? 0 : 1;
