import { describe, expect, it } from "vitest";

import { isMoving, missingRecordings, percentOf, stageOf, stageOfDevice, type UploadDevice, type UploadFile } from "./progress";

function file(part: Partial<UploadFile>): UploadFile {
  return {
    recording: "20260206_143052",
    fileType: "video",
    s3Key: "sessions/20260206_143052/recording.mp4",
    size: 100,
    stored: 0,
    state: "uploading",
    uploaded: false,
    verified: false,
    retries: 0,
    startedAt: null,
    checksum: null,
    ...part,
  };
}

function headset(files: UploadFile[], recordings = 1): UploadDevice {
  return { deviceId: "QUEST_0001", recordings, safeToDelete: false, files };
}

const whole = { stored: 100, uploaded: true };
const verified = { ...whole, verified: true, state: "completed" as const };

describe("an upload", () => {
  it("tells uploaded from verified", () => {
    expect(stageOf(file({ stored: 99 }))).toBe("uploading");
    expect(stageOf(file(whole))).toBe("uploaded");
    expect(stageOf(file(verified))).toBe("verified");
    expect(stageOf(file({ ...whole, state: "failed" }))).toBe("failed");
  });

  it("is as far as its least file", () => {
    expect(stageOfDevice(headset([]))).toBe("waiting");
    expect(stageOfDevice(headset([file(verified)]))).toBe("waiting");
    expect(stageOfDevice(headset([file(verified), file({ fileType: "data" })]))).toBe("uploading");
    expect(stageOfDevice(headset([file(verified), file({ fileType: "data", ...whole })]))).toBe("uploaded");
    expect(stageOfDevice(headset([file(verified), file({ fileType: "data", state: "aborted" })]))).toBe("failed");
    expect(stageOfDevice(headset([file(verified), file({ fileType: "data", ...verified })]))).toBe("verified");
  });

  it("waits for recordings that the headset has spoken of", () => {
    const one = [file(verified), file({ fileType: "data", ...verified })];
    expect(missingRecordings(headset(one, 2))).toBe(1);
    expect(stageOfDevice(headset(one, 2))).toBe("waiting");
    expect(missingRecordings(headset(one, 0))).toBe(0);
  });

  it("reaches 100 % only with the last byte", () => {
    expect(percentOf([])).toBe(0);
    expect(percentOf([{ stored: 9999, size: 10_000 }])).toBe(99);
    expect(percentOf([{ stored: 300, size: 100 }, { stored: 0, size: 100 }])).toBe(50);
  });

  it("is looked at often only while it moves", () => {
    const now = Date.parse("2026-02-06T15:00:00Z");
    const session = {
      sessionId: "s", status: "completed" as const, createdAt: "", startedAt: "", discardedAt: null, metadata: {},
      endedAt: "2026-02-06T14:30:00Z",
    };
    expect(isMoving({ ...session, devices: [headset([])] }, now)).toBe(false);
    expect(isMoving({ ...session, devices: [headset([file({})])] }, now)).toBe(true);
    expect(isMoving({ ...session, endedAt: null, devices: [] }, now)).toBe(true);
    expect(isMoving({ ...session, endedAt: "2026-02-06T14:59:00Z", devices: [headset([])] }, now)).toBe(true);
  });
});
