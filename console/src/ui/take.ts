/** What was recorded, by what its operator wrote down. */

type Metadata = Record<string, unknown>;

export function textOf(metadata: Metadata, name: string): string {
  const value = metadata[name];
  return typeof value === "string" ? value.trim() : "";
}

/** `P-017, Fold a towel, take 2`; '' when nothing was written down. */
export function takeTitle(metadata: Metadata): string {
  const take = metadata["take"];
  const number = typeof take === "number" ? `take ${take}` : "";
  return [textOf(metadata, "participant"), textOf(metadata, "task"), number].filter(Boolean).join(", ");
}
