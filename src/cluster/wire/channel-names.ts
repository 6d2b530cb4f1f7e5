import { createHash } from 'node:crypto'

/** Stands for all connections of a hub where a room's name is expected: no room has an empty name. */
export const EVERYONE = ''

/** What a backplane takes. */
const MAX_CHANNEL_LENGTH = 200
const MAX_NAMESPACE_LENGTH = 64

/**
 * The names of a cluster's channels, made of `A–Z a–z 0–9 _ - .` only. Two different rooms never share one, nor do two
 * namespaces: what is not a letter, a digit or a dash is escaped by its UTF-16 code unit, and what gets too long that way is
 * replaced by its SHA-256. No part is empty and none holds a dot, so each is one token of a NATS subject.
 */
export class ChannelNames {
  readonly #prefix: string
  /** Heartbeats and requests to all nodes. */
  readonly control: string

  constructor(namespace: string) {
    const name = escapeName(namespace)
    // No escaped name begins with `_h`.
    this.#prefix = name.length > MAX_NAMESPACE_LENGTH ? `_h${digest(namespace)}` : name
    this.control = `${this.#prefix}.c`
  }

  /** The channel of a room, or of {@link EVERYONE}. */
  room(room: string): string {
    if (room === EVERYONE) return `${this.#prefix}.a`
    const channel = `${this.#prefix}.r.${escapeName(room)}`
    return channel.length > MAX_CHANNEL_LENGTH ? `${this.#prefix}.h.${digest(room)}` : channel
  }

  /** What is sent to one node: messages to its connections, answers to its requests. */
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
  // By code units: UTF-8 would make one of all lone surrogates.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}
