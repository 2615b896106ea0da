import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const OUT = new URL("../src/quest_backend/web", import.meta.url).pathname;

/** Compressed forms beside each asset, so that the server never compresses. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      const folder = join(OUT, "assets");
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        if (!/\.(js|css|svg)$/.test(name) || statSync(path).size < 1024) continue;
        const bytes = readFileSync(path);
        const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, quality));
        writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed()],
  resolve: { alias: { "@wire": new URL("../docs/generated", import.meta.url).pathname } },
  // The server puts a fresh nonce in its place for every page it sends.
  html: { cspNonce: "__CSP_NONCE__" },
  build: { outDir: OUT, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: {
    fs: { allow: [".."] },
    proxy: Object.fromEntries(
      ["/api", "/auth", "/health", "/test", "/socket.io"].map((path) => [
        path,
        { target: process.env["QUEST_BACKEND"] ?? "http://127.0.0.1:3200", ws: true },
      ]),
    ),
  },
});
