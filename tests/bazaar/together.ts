/**
 * Holds calls until all of the named ones have begun, so that they are answered only if they run side by side: were one
 * to wait for another, none would ever end.
 *
 * @param counts how many calls of each method there must be at the same time
 */
export function together(counts: Readonly<Record<string, number>>): (method: string) => Promise<void> {
  const left = new Map(Object.entries(counts));
  const { promise, resolve } = Promise.withResolvers<void>();
  return async (method) => {
    const wanted = left.get(method);
    if (wanted === undefined) return;
    if (wanted > 1) left.set(method, wanted - 1);
    else left.delete(method);
    if (left.size === 0) resolve();
    await promise;
  };
}
