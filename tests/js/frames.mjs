// Frames in both forms with the official JavaScript client, on both sides at once:
// node frames.mjs URL TRANSPORTS HEADSET_TOKEN OLD_VIEWER_TOKEN NEW_VIEWER_TOKEN DEVICE_ID.
import { io } from "socket.io-client";

const [url, transports, headsetToken, oldToken, newToken, deviceId] = process.argv.slice(2);
const connect = (auth) =>
  io(url, { auth, transports: transports.split(","), reconnection: false, forceNew: true });
const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in 8 s`)), 8000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const once = (socket, event) =>
  within(new Promise((resolve) => socket.once(event, (...args) => resolve(args))), event);
const check = (what, ok) => {
  if (!ok) throw new Error(what);
};
const pause = () => new Promise((resolve) => setTimeout(resolve, 50)); // beyond throttle and pacing

const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0, ...Array.from({ length: 40000 }, (_, i) => i & 255)]);
const base64 = jpeg.toString("base64");

const headset = connect({ token: headsetToken });
await once(headset, "connect");
let reply = once(headset, "on-headset-connected");
headset.emit("headset-identify", deviceId);
await reply;

const old = connect({ token: oldToken });
const fresh = connect({ token: newToken, frames: "v2" });
const strays = [];
old.on("on-headset-frame", () => strays.push("old viewer, new event"));
fresh.on("on-headset-frame-updated", () => strays.push("new viewer, old event"));
headset.on("on-headset-frame", () => strays.push("echo"));
headset.on("on-headset-frame-updated", () => strays.push("echo"));
headset.on("error", (error) => strays.push(error));
await Promise.all([once(old, "connect"), once(fresh, "connect")]);
for (const viewer of [old, fresh]) {
  reply = once(viewer, "on-headset-connected");
  viewer.emit("tablet-connect-headset", deviceId);
  await reply;
}

let seq = 0;
for (const [sent, text] of [
  [base64, base64],
  [jpeg, base64],
  [new Uint8Array(jpeg).buffer, base64],
  [`data:image/jpeg;base64,${base64}`, `data:image/jpeg;base64,${base64}`],
]) {
  await pause();
  const replies = Promise.all([
    once(old, "on-headset-frame-updated"),
    once(fresh, "on-headset-frame"),
  ]);
  const before = Date.now();
  headset.emit("headset-frame", sent);
  const [[shown], [from, number, sentAtMs, picture]] = await replies;
  seq += 1;
  check("old viewers get text", shown === text);
  check("new viewers get bytes", Buffer.isBuffer(picture) && picture.equals(jpeg));
  check("which headset", from === deviceId && number === seq);
  check("when", sentAtMs >= before - 1 && sentAtMs <= Date.now() + 1);
}

await pause();
const replies = once(old, "on-headset-frame-updated");
const stray = (...args) => strays.push(args);
fresh.on("on-headset-frame", stray);
headset.emit("headset-frame", "this is no base64");
check("text as it came", (await replies)[0] === "this is no base64");
await pause();
fresh.off("on-headset-frame", stray);
reply = once(fresh, "on-headset-frame");
headset.emit("headset-frame", jpeg);
check("the next one", (await reply)[1] === seq + 2);
check(`nothing else: ${strays}`, strays.length === 0);
console.log("ok");
process.exit(0);
