/** REST calls with the caller's credentials; types come from the server's OpenAPI document. */
import { signOut, useAuth, type Credentials } from "./auth/credentials";
import type { components } from "./generated/openapi";

export type Schemas = components["schemas"];

const TIMEOUT_MS = 10_000;

/** An answer that is not ok; `message` is the server's own sentence. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

function headersFor(credentials: Credentials | null): Record<string, string> {
  if (credentials === null) return {};
  if (credentials.kind === "admin") {
    const { key, name } = credentials;
    // Headers carry no other letters than English ones.
    return { "X-API-Key": key, ...(name && { "X-Admin-Name": encodeURIComponent(name) }) };
  }
  return { Authorization: `Bearer ${credentials.token}` };
}

/** Call as `as`, by default as who is signed in. Status 0: the server could not be reached. */
export async function call<T>(
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown,
  as: Credentials | null = useAuth.getState().credentials,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        ...headersFor(as),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
      cache: "no-store",
    });
  } catch {
    throw new HttpError(0, "The server does not answer. Check the network and try again.");
  }
  const text = await answer.text();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new HttpError(answer.status, `Unexpected answer (${answer.status})`);
  }
  if (answer.ok) return parsed as T;
  const message = (parsed as { error?: string }).error ?? `Refused (${answer.status})`;
  if (answer.status === 401 && as !== null && as === useAuth.getState().credentials) {
    signOut("Your access has ended. Sign in again.");
  }
  throw new HttpError(answer.status, message);
}

export function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
