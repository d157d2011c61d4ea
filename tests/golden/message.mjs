// Decodes a message of the wire format with nothing but what Node brings, as SPEC.md says.

import { inflateSync } from "node:zlib";

const MIB = 1024 * 1024;
export const LIMITS = { parts: 4, part: 4 * MIB, header: MIB, event: MIB / 16, run: 128, objects: 1024, side: 8192, ratio: 65535, raw: 16 * MIB };
const TIMINGS = ["received", "detected", "encoded", "decoded", "rendered", "published"];
const DROPPED = [
  "detect_replaced", "segment_replaced", "publish_replaced", "detect_overrun", "segment_overrun", "publish_overrun", "masks_limited",
];

const LONE = /\p{Surrogate}/u;

function require(condition, message) {
  if (!condition) throw new Error(message);
}

const is = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  text: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  run: (value) => is.text(value) && [...value].length <= LIMITS.run,
  number: (value) => Number.isFinite(value),
  whole: (value) => Number.isSafeInteger(value),
  side: (value) => Number.isInteger(value) && value >= 1 && value <= LIMITS.side,
  ratio: (value) => Array.isArray(value) && value.length === 2 && value.every(is.part),
  part: (value) => Number.isInteger(value) && value >= 1 && value <= LIMITS.ratio,
  decimal: (value) => is.text(value) && /^-?[0-9]{1,19}$/.test(value) && BigInt(value.replace("-", "")) < 2n ** 63n,
};

function take(from, key, check, { nullable = false } = {}) {
  const value = from[key];
  require((nullable && value === null) || check(value), `${key}: ${JSON.stringify(value)} is not allowed`);
  return value;
}

function decimal(from, key, allowed = {}) {
  const value = take(from, key, is.decimal, allowed);
  return value === null ? null : String(BigInt(value));
}

// A text with half of a surrogate pair has no UTF-8 form, and -0 is 0.
function checked(key, value) {
  require(!LONE.test(key) && !(is.text(value) && LONE.test(value)), "a lone surrogate");
  return value === 0 ? 0 : value;
}

function optional(from, key, check) {
  return from[key] === undefined ? null : take(from, key, check, { nullable: true });
}

export function decode(parts) {
  require(parts.length >= 2 && parts.length <= LIMITS.parts, "number of parts");
  require(parts.every((part) => part.length <= LIMITS.part), "size of a part");
  const topic = /^streamseg\/([0-9]+)\/([a-z0-9_-]{1,64})\/(masks|clean|overlay|state)$/.exec(parts[0].toString("latin1"));
  require(topic !== null && topic[1] === "1", "topic");
  require(parts[1].length <= (topic[3] === "state" ? LIMITS.event : LIMITS.header), "size of the header");
  const header = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(parts[1]), checked);
  require(header.v === 1, "version");
  require(take(header, "source", is.text) === topic[2], "source");
  const kinds = { result: readResult, state: readState, heartbeat: readHeartbeat, end: readEnd };
  require(Object.hasOwn(kinds, header.kind), "kind");
  require((header.kind === "result") === (topic[3] !== "state"), "view of the kind");
  const common = { view: topic[3], source: header.source, kind: header.kind, run_id: take(header, "run_id", is.run) };
  return { ...common, ...kinds[header.kind](header, parts, topic[3]) };
}

function readState(header) {
  const detail = optional(header, "detail", is.text) ?? "";
  return { stage: take(header, "stage", is.text), state: take(header, "state", is.text), detail };
}

function readHeartbeat(header) {
  return {
    seq: decimal(header, "seq", { nullable: true }),
    t_unix_ns: decimal(header, "t_unix_ns"),
    state: optional(header, "state", is.text) ?? "",
    detail: optional(header, "detail", is.text) ?? "",
  };
}

function readEnd(header) {
  return {
    seq: decimal(header, "seq", { nullable: true }),
    reason: take(header, "reason", is.text),
    unreadable: optional(header, "unreadable", is.whole) ?? 0,
    others_follow: optional(header, "others_follow", is.boolean) ?? false,
  };
}

function readResult(header, parts, view) {
  require(parts.length >= 3, "a result without masks part");
  const width = take(header, "width", is.side);
  const height = take(header, "height", is.side);
  const objects = take(header, "objects", Array.isArray);
  require(objects.length <= LIMITS.objects, "number of objects");
  checkMasks(objects, width, height, parts[2]);
  const timings = {};
  for (const key of TIMINGS) {
    const value = optional(take(header, "timings", is.object), key, is.number);
    if (value !== null) timings[key] = value;
  }
  const dropped = {};
  const counts = take(header, "dropped", is.object);
  for (const key of DROPPED) dropped[key] = counts[key] === undefined ? 0 : take(counts, key, is.whole);
  return {
    epoch: decimal(header, "epoch"),
    seq: decimal(header, "seq"),
    width,
    height,
    pixel_aspect: optional(header, "pixel_aspect", is.ratio) ?? [1, 1],
    pts_ns: decimal(header, "pts_ns"),
    t_capture_unix_ns: decimal(header, "t_capture_unix_ns"),
    timings,
    dropped,
    models: {
      detector: take(header.models, "detector", is.text),
      segmenter: take(header.models, "segmenter", is.text),
      notice: optional(header.models, "notice", is.text),
    },
    boxes_seq: decimal(header, "boxes_seq", { nullable: true }),
    mode: optional(header, "mode", is.text) ?? "",
    objects: objects.map((item) => readObject(item, parts[2])),
    jpeg: parts.length === 4 && view !== "masks" ? parts[3].toString("base64") : null,
  };
}

function known(mask) {
  if (mask === null) return false;
  return ["bits", "bits+zlib"].includes(take(mask, "enc", is.text));
}

function checkMasks(objects, width, height, blob) {
  let raw = 0;
  let taken = 0;
  for (const { mask } of objects) {
    if (!known(mask)) continue;
    for (const key of ["x", "y", "off", "len"]) require(Number.isInteger(mask[key]) && mask[key] >= 0, key);
    require(is.side(mask.w) && is.side(mask.h), "a mask's sides");
    require(mask.x + mask.w <= width && mask.y + mask.h <= height, "a mask leaves the frame");
    require(mask.off + mask.len <= blob.length, "a mask leaves the blob");
    raw += Math.ceil(mask.w / 8) * mask.h;
    taken += mask.len;
  }
  require(raw <= LIMITS.raw && taken <= blob.length, "size of the masks");
}

function readObject(item, blob) {
  const xyxy = take(item, "xyxy", (value) => Array.isArray(value) && value.length === 4 && value.every(is.number));
  return {
    xyxy,
    confidence: take(item, "confidence", is.number),
    class_id: take(item, "class_id", is.whole),
    class_name: take(item, "class_name", is.text),
    tracker_id: take(item, "tracker_id", is.whole, { nullable: true }),
    mask: known(item.mask) ? readMask(item.mask, blob) : null,
    origin_seq: decimal(item, "origin_seq", { nullable: true }),
    age_ms: take(item, "age_ms", is.number),
    method: take(item, "method", is.text),
    predicted_iou: optional(item, "predicted_iou", is.number),
    stability: optional(item, "stability", is.number),
    colour: optional(item, "colour", is.text),
  };
}

function readMask({ enc, x, y, w, h, off, len }, blob) {
  const stride = Math.ceil(w / 8);
  const piece = blob.subarray(off, off + len);
  const bits = enc === "bits" ? piece : inflate(piece, stride * h);
  require(bits.length === stride * h, "bits of a mask");
  // Unpacked when used: a character per pixel takes eight times the memory and more.
  return {
    x,
    y,
    get rows() {
      return unpack(bits, w, h, stride);
    },
  };
}

function unpack(bits, w, h, stride) {
  const rows = [];
  for (let row = 0; row < h; row += 1) {
    let text = "";
    for (let column = 0; column < w; column += 1) {
      text += (bits[row * stride + (column >> 3)] >> (7 - (column & 7))) & 1 ? "#" : ".";
    }
    rows.push(text);
  }
  return rows;
}

function inflate(piece, expected) {
  const { buffer, engine } = inflateSync(piece, { maxOutputLength: expected, info: true });
  require(engine.bytesWritten === piece.length, "bytes after a zlib stream");
  return buffer;
}
