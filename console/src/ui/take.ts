/** What was recorded, by what its operator wrote down. */

type Metadata = Record<string, unknown>;

export function textOf(metadata: Metadata, name: string): string {
  const value = metadata[name];
  return typeof value === "string" ? value.trim() : "";
}

/** `P-017, Fold a towel, take 2`; '' when nothing was written down. */
export function takeTitle(participant: string, task: string, number: number): string {
  return [participant, task, number > 0 ? `take ${number}` : ""].filter(Boolean).join(", ");
}

export function titleOf(metadata: Metadata): string {
  const take = metadata["take"];
  return takeTitle(textOf(metadata, "participant"), textOf(metadata, "task"), typeof take === "number" ? take : 0);
}
