/** Signing in, and a token for the socket that never runs out while somebody is signed in. */
import { call, HttpError, type Schemas } from "../http";
import { browserId, signIn, signOut, useAuth, type Credentials } from "./credentials";

const RENEW_WHEN_LEFT_MS = 18 * 3600 * 1000;
const CHECK_EVERY_MS = 60_000;

let socketToken: { for: Credentials; token: string } | null = null;

/** Sign in with the admin key. Throws HttpError: wrong key, or no answer. */
export async function signInAsManager(key: string, remembered: boolean): Promise<void> {
  const before = useAuth.getState().credentials;
  // The link of a restarted server is no change of person.
  const name = before?.kind === "admin" && before.key === key ? (before.name ?? "") : "";
  const credentials: Credentials = { kind: "admin", key, deviceId: browserId(), remembered, name };
  const token = await managerToken(credentials);
  signIn(credentials);
  socketToken = { for: credentials, token };
}

/** Say who uses the admin key here, until somebody signs out. Throws HttpError: not a name to keep. */
export async function introduce(name: string): Promise<void> {
  const { credentials } = useAuth.getState();
  if (credentials?.kind !== "admin") return;
  const named: Credentials = { ...credentials, name: name.trim() };
  await call("GET", "/api/fleet/summary", undefined, named);
  signIn(named);
}

/** Pair this tablet with a code from an admin's screen. Throws HttpError. */
export async function pairTablet(code: string): Promise<void> {
  const got = await call<Schemas["OperatorToken"]>("POST", "/auth/pair", { code }, null);
  signIn({ kind: "tablet", token: got.token, deviceId: got.deviceId, name: got.name, expiresAt: got.expiresAt });
}

async function managerToken(credentials: Credentials): Promise<string> {
  const got = await call<Schemas["TokenResponse"]>(
    "POST",
    "/auth/generate-token",
    { deviceId: credentials.deviceId, deviceType: "tablet" },
    credentials,
  );
  return got.token;
}

/** The token for the next connection of the socket; null when it cannot be had now. */
export async function tokenForSocket(): Promise<string | null> {
  const { credentials } = useAuth.getState();
  if (credentials === null) return null;
  if (credentials.kind === "tablet") return credentials.token;
  if (socketToken?.for === credentials) return socketToken.token;
  try {
    socketToken = { for: credentials, token: await managerToken(credentials) };
    return socketToken.token;
  } catch (error) {
    if (error instanceof HttpError && error.status === 403) signOut("The admin key has changed.");
    return null;
  }
}

/** The server refused the socket's token: find out whether access has ended. */
export async function tokenWasRefused(): Promise<void> {
  const { credentials } = useAuth.getState();
  socketToken = null;
  if (credentials?.kind !== "tablet") return;
  const answer = await call<{ valid: boolean }>("POST", "/auth/verify-token", { token: credentials.token }, null);
  if (!answer.valid) signOut("This tablet is no longer paired. Ask for a new code.");
}

/** Renew the tablet's token well before it ends. The socket stays open, so locks stay. */
async function renew(): Promise<void> {
  const { credentials } = useAuth.getState();
  // A manager's key does not end, and a socket token is made from it at each connection.
  if (credentials?.kind !== "tablet") return;
  if (credentials.expiresAt * 1000 - Date.now() > RENEW_WHEN_LEFT_MS) return;
  const got = await call<Schemas["OperatorToken"]>("POST", "/auth/refresh-token");
  if (useAuth.getState().credentials !== credentials) return;
  signIn({ ...credentials, token: got.token, name: got.name, expiresAt: got.expiresAt });
}

export function keepTokensFresh(): () => void {
  const check = (): void => {
    renew().catch(() => undefined); // tried again at the next check; 401 signs out
  };
  check();
  const timer = setInterval(check, CHECK_EVERY_MS);
  return () => clearInterval(timer);
}
