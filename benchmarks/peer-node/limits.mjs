// Rate limits per socket and event: fixed windows, as the backend counts them.

const RATES = {
  'headset-identify': [3, 5000],
  'headset-frame': [120, 1000],
  'device-telemetry': [5, 1000],
  'dashboard-subscribe': [5, 5000],
  'tablet-connect-headset': [10, 2000],
};
const OTHER = [50, 1000];

/** A Socket.IO middleware that drops what is over the limit. */
export function rateLimit(multiplier) {
  const windows = new Map();
  return ([event], next) => {
    const [count, windowMs] = RATES[event] ?? OTHER;
    const now = performance.now();
    let window = windows.get(event);
    if (!window || now - window.opened >= windowMs) {
      window = { opened: now, count: 0 };
      windows.set(event, window);
    }
    if (window.count >= Math.max(1, count * multiplier)) return;
    window.count += 1;
    next();
  };
}
