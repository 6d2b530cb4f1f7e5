/**
 * Returns the items with the largest weights, the largest first, in one pass and without a copy of all. Of
 * equal ones, those that come first.
 */
export function topOf<T>(items: Iterable<T>, count: number, weigh: (item: T) => number): T[] {
  const top: { readonly item: T; readonly weight: number }[] = []
  for (const item of items) {
    const weight = weigh(item)
    const last = top.at(-1)
    if (top.length >= count && last !== undefined && weight <= last.weight) continue
    let [low, high] = [0, top.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((top[middle]?.weight ?? 0) >= weight) low = middle + 1
      else high = middle
    }
    top.splice(low, 0, { item, weight })
    if (top.length > count) top.pop()
  }
  return top.map(({ item }) => item)
}
