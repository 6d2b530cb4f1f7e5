import { createHash } from 'node:crypto'

/** A longer name is replaced by its digest. */
const MAX_NAME_LENGTH = 200

/** Returns a token of a subject for a room: its name, escaped, or the digest of a long one. */
export function tokenOf(room: string): string {
  try {
    const name = encodeURIComponent(room).replace(/[.*]/g, (char) => (char === '.' ? '%2E' : '%2A'))
    if (name.length <= MAX_NAME_LENGTH) return name
  } catch {
    // A lone surrogate has no UTF-8.
  }
  // Not as UTF-8, which would replace every lone surrogate by the same character.
  return `#${createHash('sha256').update(room, 'utf16le').digest('base64url')}`
}
