/** Who is signed in on this browser, and the token its socket uses. */
import { create } from "zustand";

export type Credentials =
  | { kind: "admin"; key: string; deviceId: string; remembered: boolean; name?: string }
  | { kind: "tablet"; token: string; deviceId: string; name: string; expiresAt: number };

interface AuthState {
  credentials: Credentials | null;
  /** Why the last sign-in ended, shown on the sign-in page. */
  ended: string | null;
}

const KEY = "quest.credentials";
const BROWSER_ID = "quest.browser";

export const useAuth = create<AuthState>(() => ({ credentials: stored(), ended: null }));

function stored(): Credentials | null {
  const text = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  if (text === null) return null;
  try {
    return JSON.parse(text) as Credentials;
  } catch {
    return null;
  }
}

/** This browser's own device id, for a manager who also takes part as an operator. */
export function browserId(): string {
  const known = localStorage.getItem(BROWSER_ID);
  if (known !== null) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  const id = `console_${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  localStorage.setItem(BROWSER_ID, id);
  return id;
}

export function signIn(credentials: Credentials): void {
  const text = JSON.stringify(credentials);
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  const lasting = credentials.kind === "tablet" || credentials.remembered;
  (lasting ? localStorage : sessionStorage).setItem(KEY, text);
  useAuth.setState({ credentials, ended: null });
}

/** The server's bound. */
export const MOST_NAME = 80;

/** Who uses the admin key here; '' when nobody has said. */
export function useName(): string {
  return useAuth(({ credentials }) => (credentials?.kind === "admin" ? (credentials.name ?? "") : ""));
}

export function signOut(ended: string | null = null): void {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  useAuth.setState({ credentials: null, ended });
}
