// Telemetry: checked against the ranges of the wire contract, unknown fields are kept.

import Ajv from 'ajv';

const amount = { type: 'number', minimum: 0 };
const text = { type: 'string', maxLength: 200 };
const share = { type: 'number', minimum: 0, maximum: 1 };
const flag = { type: 'boolean' };
const temperature = { type: 'number' };

const validate = new Ajv().compile({
  type: 'object',
  properties: {
    deviceId: { type: 'string', pattern: '^[a-zA-Z0-9_-]{1,64}$' },
    deviceName: text,
    customName: text,
    timestamp: amount,
    batteryLevel: share,
    batteryState: { type: 'integer', minimum: 0, maximum: 4 },
    storageUsedBytes: amount,
    storageTotalBytes: amount,
    wifiSignalLevel: { type: 'number', minimum: -100, maximum: 0 },
    wifiSSID: text,
    appVersion: text,
    osVersion: text,
    sdkVersion: text,
    leftHandTracked: flag,
    rightHandTracked: flag,
    bodyTracked: flag,
    trackingConfidence: share,
    isRecording: flag,
    sessionDuration: amount,
    productiveTime: amount,
    frameCount: amount,
    droppedFrames: amount,
    cpuTemperature: temperature,
    gpuTemperature: temperature,
    memoryUsedMB: amount,
    memoryTotalMB: amount,
  },
});

/** The telemetry that was sent: an object, its JSON, or the JSON of that. Null when invalid. */
export function readTelemetry(sent, deviceId) {
  let value = sent;
  try {
    for (let depth = 0; depth < 2 && typeof value === 'string'; depth += 1) {
      value = JSON.parse(value);
    }
  } catch {
    return null;
  }
  if (!validate(value) || (value.deviceId ?? deviceId) !== deviceId) return null;
  value.deviceId = deviceId;
  return value;
}
