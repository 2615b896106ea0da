// The operator's flow with the official JavaScript client: node flow.mjs URL TRANSPORTS TOKENS.
import { io } from "socket.io-client";

const [url, transports, headsetToken, tabletToken, deviceId] = process.argv.slice(2);
const options = (token) => ({
  auth: { token },
  transports: transports.split(","),
  reconnection: false,
  forceNew: true,
});
const once = (socket, event, where = () => true) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} in 8 s`)), 8000);
    const look = (...args) => {
      if (!where(...args)) return;
      clearTimeout(timer);
      socket.off(event, look);
      resolve(args[0]);
    };
    socket.on(event, look);
  });
const check = (what, ok) => {
  if (!ok) throw new Error(what);
};

const refused = io(url, options("no token"));
const refusal = await once(refused, "connect_error");
check("refusal says why", /token/i.test(refusal.message));

const headset = io(url, options(headsetToken));
await once(headset, "connect");
let reply = once(headset, "on-headset-connected");
headset.emit("headset-identify", deviceId);
await reply;

const tablet = io(url, options(tabletToken));
await once(tablet, "on-headsets-with-lock-status-updated", (rows) =>
  rows.some((row) => row.deviceId === deviceId),
);
if (transports === "polling,websocket") {
  const deadline = Date.now() + 8000;
  while (tablet.io.engine.transport.name !== "websocket") {
    check("upgraded", Date.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

reply = once(tablet, "on-devices-locked");
tablet.emit("tablet-lock-devices", [deviceId]);
check("locked", (await reply).locked[0] === deviceId);

reply = once(tablet, "on-headset-frame-updated");
const frame = "/9j/".padEnd(40000, "A");
headset.emit("headset-frame", frame);
check("frame arrives whole", (await reply) === frame);

reply = once(tablet, "on-session-created");
tablet.emit("tablet-create-session", { deviceIds: [deviceId], metadata: { study: "ü" } });
const { sessionId } = await reply;
const commanded = once(headset, "on-tablet-start-recording");
reply = once(tablet, "on-session-started");
tablet.emit("tablet-start-session", sessionId);
await Promise.all([reply, commanded]);

reply = once(tablet, "on-device-recording-changed");
headset.emit("headset-recording-state", true);
check("recording", (await reply).isRecording === true);
const ack = await tablet.timeout(5000).emitWithAck("tablet-start-recording", deviceId);
check("already recording is success", ack.success === true && ack.deviceId === deviceId);

reply = once(tablet, "on-fleet-status-updated");
tablet.emit("dashboard-subscribe");
check("snapshot", (await reply).some((device) => device.deviceId === deviceId));
reply = once(tablet, "on-device-telemetry-updated", (d) => d.telemetry?.batteryLevel === 0.61);
headset.emit("device-telemetry", JSON.stringify(JSON.stringify({ batteryLevel: 0.61 })));
await reply;

reply = once(headset, "error");
headset.emit("tablet-unlock-all-devices");
check("roles", (await reply).code === "FORBIDDEN");

const stopped = once(headset, "on-tablet-stop-recording");
const told = once(headset, "on-session-ended");
reply = once(tablet, "on-session-ended");
tablet.emit("tablet-end-session", sessionId);
check("ended", (await reply).sessionId === sessionId);
await Promise.all([stopped, told]);

headset.disconnect();
await once(tablet, "on-device-disconnected");
tablet.disconnect();
console.log("ok");
process.exit(0);
