/** Keys that are commands. */

import { useEffect, useRef } from "react";

/**
 * Does what `commandOf` makes of each key while nobody writes; null leaves the key to the browser.
 * Always the one that was rendered last: a key that is pressed as soon as the page shows something
 * new meets the commands of what it shows, which a listener put in place by an effect comes too late for.
 */
export function useCommands(commandOf: (event: KeyboardEvent) => (() => void) | null): void {
  const latest = useRef(commandOf);
  latest.current = commandOf;
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      if (isTyping(event)) return;
      const command = latest.current(event);
      if (command === null) return;
      event.preventDefault();
      command();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

/** Somebody writes, so that no key is a command. */
function isTyping({ target, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  if (ctrlKey || metaKey || altKey) return true;
  return target instanceof HTMLElement && target.closest("input, textarea, select, [role=dialog]") !== null;
}
