import { createHash } from 'node:crypto'

/** Stands for all connections where the name of a room is expected: no room has an empty name. */
export const EVERYONE = ''

/** The longest name that a backplane accepts. */
const MAX_CHANNEL_LENGTH = 200
const MAX_NAMESPACE_LENGTH = 64

/**
 * The names of a cluster's channels, made of `A–Z a–z 0–9 _ - .` only. No two rooms and no two namespaces
 * share a name: a character that is not a letter, a digit or a dash is escaped by its UTF-16 code units, and
 * a name that would be too long is replaced by its SHA-256. No part is empty or contains a dot, so each is
 * one token of a NATS subject.
 */
export class ChannelNames {
  readonly #prefix: string
  /** The channel for heartbeats and for requests to all nodes. */
  readonly control: string

  constructor(namespace: string) {
    const name = escapeName(namespace)
    // No escaped name begins with `_h`.
    this.#prefix = name.length > MAX_NAMESPACE_LENGTH ? `_h${digest(namespace)}` : name
    this.control = `${this.#prefix}.c`
  }

  /** Returns the channel of a room, or the channel for {@link EVERYONE}. */
  room(room: string): string {
    if (room === EVERYONE) return `${this.#prefix}.a`
    const channel = `${this.#prefix}.r.${escapeName(room)}`
    return channel.length > MAX_CHANNEL_LENGTH ? `${this.#prefix}.h.${digest(room)}` : channel
  }

  /** Returns the channel of one node, for messages to its connections and for responses to its requests. */
  node(id: string): string {
    return `${this.#prefix}.n.${id}`
  }
}

function escapeName(text: string): string {
  return text.replace(/[^A-Za-z0-9-]/g, (unit) => {
    const code = unit.charCodeAt(0)
    return code < 0x100 ? `_${code.toString(16).padStart(2, '0')}` : `__${code.toString(16).padStart(4, '0')}`
  })
}

function digest(text: string): string {
  // Not as UTF-8, which would replace every lone surrogate by the same character.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}
