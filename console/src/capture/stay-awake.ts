/** A tablet that goes to sleep loses its connection, and after a grace the server ends its take. */
import { useEffect } from "react";

/** Keep the screen on while the calling component is shown; browsers allow it over HTTPS only. */
export function useStayAwake(): void {
  useEffect(() => {
    if (!("wakeLock" in navigator)) return undefined;
    let lock: WakeLockSentinel | null = null;
    let left = false;
    const ask = (): void => {
      // The browser takes the lock back whenever the page is hidden.
      if (document.visibilityState !== "visible") return;
      navigator.wakeLock.request("screen").then(
        (given) => {
          lock = given;
          if (left) void given.release();
        },
        () => undefined, // refused, with a low battery for example: as without it
      );
    };
    ask();
    document.addEventListener("visibilitychange", ask);
    return () => {
      left = true;
      document.removeEventListener("visibilitychange", ask);
      void lock?.release();
    };
  }, []);
}
