/** Longer words are not compared, because the time grows with the square of the length. */
const MAX_LENGTH = 60

/** The shortest word that counts as the beginning or end of a longer one. */
const MIN_AFFIX = 4

/** Returns the name that a misspelled word probably means; `undefined` when none resembles it. */
export function nearestName(word: string, names: readonly string[]): string | undefined {
  const wanted = plain(word)
  let nearest: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const name of word.length > MAX_LENGTH ? [] : names) {
    const known = plain(name)
    const edits = editDistance(wanted, known)
    if (edits < least && (edits <= Math.max(wanted.length, known.length) / 3 || isAffix(wanted, known))) {
      nearest = name
      least = edits
    }
  }
  return nearest
}

/** Returns a word without the differences between naming conventions. */
function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[_-]/g, '')
}

/**
 * Returns whether one word begins or ends with the other: `timeout` and `timeoutMs`, `message` and
 * `onMessage`.
 */
function isAffix(one: string, other: string): boolean {
  const [short, long] = one.length < other.length ? [one, other] : [other, one]
  return short.length >= MIN_AFFIX && (long.startsWith(short) || long.endsWith(short))
}

/**
 * Returns how many letters are inserted, removed, replaced or swapped with the next one
 * (Damerau–Levenshtein).
 */
function editDistance(from: string, to: string): number {
  let before: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      const edits = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        isSwapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      )
      current.push(edits)
    }
    before = last
    last = current
  }
  return at(last, to.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
