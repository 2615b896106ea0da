// The preview: the newest frame of each headset to its viewers, at most one per interval.

const MAX_FRAME_BYTES = 1024 * 1024;
// Frames of a steady 60 fps source jitter; a millisecond early is not too fast.
const JITTER_MS = 1;

export class Frames {
  #io;
  #throttleMs;
  #intervalMs;
  #streams = new Map();

  constructor(io, { throttleMs, intervalMs }) {
    this.#io = io;
    this.#throttleMs = throttleMs;
    this.#intervalMs = intervalMs;
  }

  receive(socket, deviceId, data) {
    if (typeof data !== 'string' || data.length === 0 || data.length > MAX_FRAME_BYTES) {
      socket.emit('error', { code: 'INVALID_FRAME_DATA', message: 'data: base64 up to 1 MiB' });
      return;
    }
    let stream = this.#streams.get(deviceId);
    if (!stream) {
      stream = { takenAt: -Infinity, sentAt: -Infinity, frame: null, socket, timer: null };
      this.#streams.set(deviceId, stream);
    }
    const now = performance.now();
    if (now - stream.takenAt < this.#throttleMs - JITTER_MS) return;
    stream.takenAt = now;
    const room = this.#io.of('/').adapter.rooms.get(deviceRoom(deviceId));
    if (!room || room.size <= 1) return; // nobody but the headset itself
    stream.frame = data;
    stream.socket = socket;
    if (stream.timer !== null) return;
    const wait = stream.sentAt + this.#intervalMs - now;
    if (wait <= 0) this.#send(deviceId, stream);
    else stream.timer = setTimeout(() => this.#send(deviceId, stream), wait);
  }

  #send(deviceId, stream) {
    stream.timer = null;
    stream.sentAt = performance.now();
    const { frame, socket } = stream;
    stream.frame = null;
    // Volatile: a viewer whose last message has not left yet skips this one.
    socket.volatile.to(deviceRoom(deviceId)).emit('on-headset-frame-updated', frame);
  }

  forget(deviceId) {
    clearTimeout(this.#streams.get(deviceId)?.timer);
    this.#streams.delete(deviceId);
  }
}

export function deviceRoom(deviceId) {
  return `device:${deviceId}`;
}
