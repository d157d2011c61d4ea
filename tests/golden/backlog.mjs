// What a reader has received and not used yet, as SPEC.md says in "Slow readers". Times are milliseconds of one clock.

const MAX_LAG_MS = 1000;
const NEWER_MS = 500;
const FALL_MS = 100;

export class Backlog {
  #waiting = [];
  #sources = new Map(); // of each: its run, the least and the usual delay of that run, and when its newest result was sent
  #newest = null;
  #noted = null;

  // Adds a result that has just arrived.
  add(result, now) {
    const sent = sentMs(result);
    const item = { result, sent, delay: now - sent, live: result.mode === "live" };
    let state = this.#sources.get(result.source);
    if (state?.run !== result.run_id) state = { run: result.run_id, least: item.delay, usual: item.delay };
    state.least = Math.min(state.least, item.delay);
    state.usual = Math.min(state.usual, item.delay);
    state.sent = sent;
    this.#sources.set(result.source, state);
    this.#newest = item;
    this.#waiting.push(item);
  }

  // Milliseconds for which to receive more before the next result is used; 0 to use it. Ask again after each receipt.
  wait(now) {
    const late = this.#waiting.length > 0 && this.#newest.live;
    const state = late ? this.#sources.get(this.#newest.result.source) : null;
    if (!late || this.#newest.delay - state.usual <= MAX_LAG_MS) {
      this.#noted = null;
      return 0;
    }
    const { delay } = this.#newest;
    if (this.#noted === null || this.#noted.delay - delay >= FALL_MS) this.#noted = { delay, now };
    const left = this.#noted.now + NEWER_MS - now;
    if (left > 0) return left;
    state.usual = delay; // the publisher's clock was set, or the network is slow
    this.#noted = null;
    return 0;
  }

  // Removes and returns the oldest result that is not too old, with its lag; undefined without one.
  take(now) {
    while (this.#waiting.length > 0) {
      const { result, sent, live } = this.#waiting.shift();
      const { sent: newest, least } = this.#sources.get(result.source);
      if (!live || newest - sent <= MAX_LAG_MS) return { ...result, lag: now - sent - least };
    }
    return undefined;
  }
}

function sentMs(result) {
  return Number(BigInt(result.t_capture_unix_ns) / 1000n) / 1000 + (result.timings.published ?? 0);
}
