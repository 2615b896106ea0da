/** One socket for the whole console, for as long as somebody is signed in. */
import { io } from "socket.io-client";
import { create } from "zustand";

import { tokenForSocket, tokenWasRefused } from "../auth/session";
import type { Wire } from "./wire";

interface ConnectionState {
  status: "connecting" | "online" | "lost";
  /** When the connection was lost, Unix ms. */
  lostAt: number | null;
  /** The id under which this tablet holds locks; empty while not connected. */
  socketId: string;
  wire: Wire | null;
}

export const useConnection = create<ConnectionState>(() => ({
  status: "connecting",
  lostAt: null,
  socketId: "",
  wire: null,
}));

const RETRY_MS = 1000;

/** What each feature does with a new socket; returns nothing, since the socket ends as a whole. */
type Attach = (wire: Wire) => void;

export function connect(features: Attach[]): () => void {
  const wire: Wire = io({
    auth: (give) => {
      tokenForSocket().then((token) => give({ token, frames: "v2" }), () => give({}));
    },
    transports: ["websocket", "polling"],
    reconnectionDelay: 300,
    reconnectionDelayMax: 3000,
    timeout: 8000,
  });
  let retry: ReturnType<typeof setTimeout> | undefined;
  const tryAgain = (): void => {
    clearTimeout(retry);
    retry = setTimeout(() => wire.connect(), RETRY_MS * (1 + Math.random()));
  };
  const lost = (): void => {
    const { status, lostAt } = useConnection.getState();
    if (status === "lost") return;
    useConnection.setState({ status: "lost", lostAt: lostAt ?? Date.now(), socketId: "" });
  };
  wire.on("connect", () => {
    useConnection.setState({ status: "online", lostAt: null, socketId: wire.id ?? "" });
  });
  wire.on("disconnect", (reason) => {
    lost();
    // After a goodbye of the server the client does not come back by itself.
    if (reason === "io server disconnect") tokenWasRefused().then(tryAgain, tryAgain);
  });
  wire.on("connect_error", () => {
    lost();
    // An active socket tries again by itself; a refused one asks for a new token first.
    if (!wire.active) tokenWasRefused().then(tryAgain, tryAgain);
  });
  for (const attach of features) attach(wire);
  useConnection.setState({ status: "connecting", lostAt: null, socketId: "", wire });
  return () => {
    clearTimeout(retry);
    wire.disconnect();
    useConnection.setState({ status: "connecting", lostAt: null, socketId: "", wire: null });
  };
}
