import { IconVideoOff } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";

import { onFrame, type Frame } from "../live/frames";
import { useNow } from "../live/now";
import { duration } from "./format";
import styles from "./preview.module.css";

/** A preview that stands still is not live. */
const LIVE_MS = 3000;

interface Props {
  deviceId: string;
  name: string;
  /** One of many on a page, with a picture a second. */
  small?: boolean;
}

/** The live picture of a headset; the newest frame is drawn, older ones are skipped. */
export function Preview({ deviceId, name, small = false }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drawnAt, setDrawnAt] = useState<number | null>(null);
  const now = useNow();

  useEffect(() => {
    let next: Frame | null = null;
    let busy = false;
    let ended = false;
    const draw = async (): Promise<void> => {
      busy = true;
      while (next !== null && !ended) {
        const frame = next;
        next = null;
        try {
          const picture = await createImageBitmap(frame.jpeg);
          const target = canvas.current;
          if (target !== null) {
            if (target.width !== picture.width) target.width = picture.width;
            if (target.height !== picture.height) target.height = picture.height;
            target.getContext("2d")?.drawImage(picture, 0, 0);
            target.dataset["frames"] = String(Number(target.dataset["frames"] ?? 0) + 1);
          }
          picture.close();
          setDrawnAt((before) => (before !== null && frame.sentAt - before < 500 ? before : frame.sentAt));
        } catch {
          // Not a picture; the next one may be.
        }
      }
      busy = false;
    };
    const stop = onFrame(deviceId, (frame) => {
      next = frame;
      if (!busy) void draw();
    });
    return () => {
      ended = true;
      stop();
    };
  }, [deviceId]);

  const age = drawnAt === null ? null : Math.max(0, now - drawnAt);
  const live = age !== null && age < LIVE_MS;
  return (
    <div className={styles.frame} data-live={live} data-small={small}>
      <canvas ref={canvas} className={styles.canvas} role="img" aria-label={`Preview of ${name}`} />
      {age === null ? (
        <span className={styles.empty}>
          <IconVideoOff aria-hidden /> No preview
        </span>
      ) : (
        <span className={styles.age}>{live ? (small ? "now" : "Live") : `${duration(age)} old`}</span>
      )}
    </div>
  );
}
