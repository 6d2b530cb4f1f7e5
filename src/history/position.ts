import type { Mark } from './history-store.ts'

/** Most characters of a position. */
const MAX_POSITION_CHARACTERS = 80

/** Epoch, offset and tag. Its characters need no escaping inside JSON, a URL or a cookie. */
const POSITION = /^([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,15})(?:\.([A-Za-z0-9_-]{1,16}))?$/

/** The place before any message, in no epoch. */
export const NOWHERE: Mark = Object.freeze({ epoch: '', offset: 0, tag: '' })

/** Returns the position of a mark, as applications and clients see it. */
export function positionOf({ epoch, offset, tag }: Mark): string {
  return tag === '' ? `${epoch}.${offset}` : `${epoch}.${offset}.${tag}`
}

/** Returns the mark of a position that a client sent; `undefined` for anything else. Never throws. */
export function readPosition(position: unknown): Mark | undefined {
  if (typeof position !== 'string' || position.length > MAX_POSITION_CHARACTERS) return undefined
  const [, epoch, digits, tag = ''] = POSITION.exec(position) ?? []
  const offset = Number(digits)
  return epoch === undefined || !Number.isSafeInteger(offset) ? undefined : { epoch, offset, tag }
}
