/** Keys that are commands. */

/** Somebody writes, so that no key is a command. */
export function isTyping({ target, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  if (ctrlKey || metaKey || altKey) return true;
  return target instanceof HTMLElement && target.closest("input, textarea, select, [role=dialog]") !== null;
}
