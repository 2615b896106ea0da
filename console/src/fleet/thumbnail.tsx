import { useEffect, useRef, useState } from "react";

import { show } from "../live/frames";
import { Preview } from "../ui/preview";

/** A picture a second, for as long as it is on the screen. */
export function Thumbnail({ deviceId, name }: { deviceId: string; name: string }) {
  const frame = useRef<HTMLDivElement>(null);
  const [visible, setVisible] = useState(false);
  useEffect(() => {
    const target = frame.current;
    if (target === null) return undefined;
    const observer = new IntersectionObserver(([entry]) => setVisible(entry?.isIntersecting ?? false));
    observer.observe(target);
    return () => observer.disconnect();
  }, []);
  useEffect(() => (visible ? show(deviceId) : undefined), [visible, deviceId]);
  return (
    <div ref={frame}>
      <Preview deviceId={deviceId} name={name} small />
    </div>
  );
}
