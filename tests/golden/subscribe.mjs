// Subscribes to a publisher without keys, with nothing but what Node brings: ZMTP 3.0 (ZeroMQ RFC 23) over TCP.
// Usage: node subscribe.mjs HOST PORT SOURCE VIEW [MILLISECONDS]. Prints one line of JSON a result until the run ends;
// MILLISECONDS is the time that each result takes. A result of a live source that is too old by then is left out.

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Backlog } from "./backlog.mjs";
import { LIMITS, decode } from "./message.mjs";

const MORE = 1;
const LONG = 2;
const COMMAND = 4;

function greeting() {
  const bytes = Buffer.alloc(64);
  bytes.set([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0]);
  bytes.write("NULL", 12, "latin1");
  return bytes;
}

function frame(flags, body) {
  return Buffer.concat([Buffer.from([flags, body.length]), body]);
}

function ready() {
  const type = Buffer.from("\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB", "latin1");
  return frame(COMMAND, type);
}

// Splits what a socket receives into messages, each an array of parts.
function* messages(state) {
  while (state.bytes.length >= 2) {
    const [flags, short] = state.bytes;
    const start = flags & LONG ? 9 : 2;
    if (state.bytes.length < start) return;
    const size = flags & LONG ? Number(state.bytes.readBigUInt64BE(1)) : short;
    if (size > LIMITS.part || state.parts.length === LIMITS.parts) throw new Error("a message beyond the limits");
    if (state.bytes.length < start + size) return;
    const body = state.bytes.subarray(start, start + size);
    state.bytes = state.bytes.subarray(start + size);
    if (flags & COMMAND) continue;
    state.parts.push(body);
    if (flags & MORE) continue;
    yield state.parts.splice(0);
  }
}

// Receives all the time, also while the program is busy with a result, and keeps what is not too old.
async function* results(host, port, source, view) {
  const socket = connect(Number(port), host);
  const state = { bytes: Buffer.alloc(0), parts: [], greeted: false };
  const backlog = new Backlog();
  let wake = () => {};
  let ended = false;
  socket.write(greeting());
  socket.on("data", (data) => {
    state.bytes = Buffer.concat([state.bytes, data]);
    if (!state.greeted) {
      if (state.bytes.length < 64) return;
      state.bytes = state.bytes.subarray(64);
      state.greeted = true;
      socket.write(ready());
      for (const name of [view, "state"]) socket.write(frame(0, Buffer.from(`\x01streamseg/1/${source}/${name}`, "latin1")));
    }
    for (const parts of messages(state)) {
      let message;
      try {
        message = decode(parts);
      } catch {
        continue; // it breaks the format or comes from a later version
      }
      ended ||= message.kind === "end";
      if (message.kind === "result") backlog.add(message, performance.now());
    }
    wake();
  });
  const arrival = () => new Promise((resolve) => (wake = resolve));
  while (true) {
    const left = ended ? 0 : backlog.wait(performance.now());
    const next = left > 0 ? undefined : backlog.take(performance.now());
    if (next !== undefined) yield next;
    else if (ended) break;
    else await (left > 0 ? Promise.race([arrival(), sleep(left)]) : arrival());
  }
  socket.destroy();
}

const [host, port, source, view, busy] = process.argv.slice(2);
for await (const { seq, objects, lag } of results(host, port, source, view)) {
  console.log(JSON.stringify({ seq, objects: objects.length, lag_ms: lag }));
  if (busy !== undefined) await sleep(Number(busy));
}
