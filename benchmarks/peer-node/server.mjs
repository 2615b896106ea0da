// The relay part of the backend's job on Node's socket.io: tokens, roles, identities, rooms, paced
// frames, checked telemetry for dashboards, lists for everybody. Written to be fast: frames are
// broadcast (socket.io then encodes and frames them once), and skipped for viewers that are behind.
//
// PORT, JWT_SECRET, RATE_LIMIT_MULTIPLIER as the backend reads them.

import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';
import { Frames, deviceRoom } from './frames.mjs';
import { rateLimit } from './limits.mjs';
import { readTelemetry } from './telemetry.mjs';

const { PORT = '3200', JWT_SECRET, RATE_LIMIT_MULTIPLIER = '1' } = process.env;
const DASHBOARDS = 'dashboards';
const LIST_INTERVAL_MS = 300;

const http = createServer((request, response) => {
  response.writeHead(request.url === '/health' ? 200 : 404).end();
});
const io = new Server(http, {
  pingInterval: 5000,
  pingTimeout: 10000,
  maxHttpBufferSize: 4 * 1024 * 1024,
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});
const frames = new Frames(io, { throttleMs: 16, intervalMs: 33 });
const devices = new Map(); // device id → its state, as dashboards see it

// socket.io's documentation advises this: the request of the handshake is never needed again.
io.engine.on('connection', (raw) => {
  raw.request = null;
});

io.use((socket, next) => {
  try {
    const { deviceId, deviceType } = jwt.verify(socket.handshake.auth.token, JWT_SECRET, {
      algorithms: ['HS256'],
    });
    Object.assign(socket.data, { identity: deviceId, deviceType });
    next();
  } catch {
    next(new Error('Authentication failed'));
  }
});

// --- lists that everybody gets, joined into a few a second ---------------------------------------

let listTimer = null;
let listsNow = null;

function lists() {
  if (listsNow !== null) return listsNow;
  const online = [...devices.values()].filter((device) => device.isOnline);
  listsNow = [
    ['on-headsets-updated', online.map((device) => device.deviceId)],
    [
      'on-headsets-with-lock-status-updated',
      online.map(({ deviceId, customName }) => ({ deviceId, isLocked: false, customName })),
    ],
    [
      'on-device-locks-updated',
      online.map(({ deviceId }) => ({ deviceId, isLocked: false })),
    ],
  ];
  return listsNow;
}

function listsChanged() {
  listsNow = null;
  listTimer ??= setTimeout(() => {
    listTimer = null;
    for (const [event, rows] of lists()) io.emit(event, rows);
  }, LIST_INTERVAL_MS);
}

// --- clients -------------------------------------------------------------------------------------

function refuse(socket, code, message) {
  socket.emit('error', { code, message });
}

function tellDashboards(device) {
  io.to(DASHBOARDS).emit('on-device-telemetry-updated', device);
}

function headset(socket) {
  let device = null;
  const mine = () => device !== null && device.socketId === socket.id;

  socket.on('headset-identify', (deviceId) => {
    if (deviceId !== socket.data.identity) {
      refuse(socket, 'DEVICE_ID_MISMATCH', 'A headset identifies as the device of its token');
      return;
    }
    const now = new Date().toISOString();
    device = devices.get(deviceId) ?? { deviceId, telemetry: null, customName: deviceId };
    Object.assign(device, {
      socketId: socket.id,
      isOnline: true,
      lastSeen: now,
      connectionTime: now,
      isLocked: false,
      isRecording: false,
    });
    devices.set(deviceId, device);
    socket.join(deviceRoom(deviceId));
    io.to(deviceRoom(deviceId)).emit('on-headset-connected');
    tellDashboards(device);
    listsChanged();
  });

  socket.on('headset-frame', (data) => {
    if (mine()) frames.receive(socket, device.deviceId, data);
    else refuse(socket, 'NOT_IDENTIFIED', 'Send headset-identify first');
  });

  socket.on('device-telemetry', (sent) => {
    if (!mine()) {
      refuse(socket, 'NOT_IDENTIFIED', 'Send headset-identify first');
      return;
    }
    const telemetry = readTelemetry(sent, device.deviceId);
    if (telemetry === null) {
      refuse(socket, 'INVALID_TELEMETRY', 'telemetry: wrong type or out of range');
      return;
    }
    const name = telemetry.customName ?? telemetry.deviceName ?? device.deviceId;
    if (name !== device.customName) listsChanged();
    device.customName = name;
    device.telemetry = telemetry;
    device.lastSeen = new Date().toISOString();
    tellDashboards(device);
  });

  socket.on('disconnect', () => {
    if (!mine()) return;
    device.isOnline = false;
    frames.forget(device.deviceId);
    io.to(deviceRoom(device.deviceId)).emit('on-headset-disconnected');
    tellDashboards(device);
    listsChanged();
  });
}

function tablet(socket) {
  let watched = null;

  socket.on('tablet-connect-headset', (deviceId) => {
    if (!devices.get(deviceId)?.isOnline) {
      socket.emit('on-headset-disconnected');
      return;
    }
    if (watched !== null) socket.leave(deviceRoom(watched));
    watched = deviceId;
    socket.join(deviceRoom(deviceId));
    socket.emit('on-headset-connected');
  });
}

function dashboard(socket) {
  socket.on('dashboard-subscribe', () => {
    socket.join(DASHBOARDS);
    socket.emit('on-fleet-status-updated', [...devices.values()]);
  });
  socket.on('dashboard-unsubscribe', () => socket.leave(DASHBOARDS));
}

const roles = {
  headset: [headset],
  tablet: [tablet, dashboard],
  dashboard: [dashboard],
};

io.on('connection', (socket) => {
  socket.use(rateLimit(Number(RATE_LIMIT_MULTIPLIER)));
  for (const role of roles[socket.data.deviceType]) role(socket);
  for (const [event, rows] of lists()) socket.emit(event, rows);
});

// The default backlog of 511 makes a storm of connects wait for retransmissions.
http.listen({ host: '127.0.0.1', port: Number(PORT), backlog: 4096 });
