import { HubError } from '../../base/errors.ts'

const MAX_VARINT_BYTES = 8
const NARROW = 0
const WIDE = 1

/**
 * Writes integers, strings and bytes one after the other. A string is Latin-1 when every code unit fits one
 * byte, otherwise UTF-16LE. Unlike UTF-8 this keeps lone surrogates, so names stay distinct.
 */
export class WireWriter {
  readonly #bytes: Buffer
  #end = 0

  /** @param capacity most bytes that will be written */
  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  byte(value: number): void {
    this.#bytes[this.#end++] = value
  }

  /** Writes an integer, 0 or more, with seven bits in each byte. */
  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.byte(rest)
  }

  text(value: string): void {
    const width = isNarrow(value) ? NARROW : WIDE
    this.varint(value.length * 2 + width)
    this.#end += this.#bytes.write(value, this.#end, width === NARROW ? 'latin1' : 'utf16le')
  }

  texts(values: readonly string[]): void {
    this.varint(values.length)
    for (const value of values) this.text(value)
  }

  /** Writes the last part, up to the end of the envelope; its length is not written. */
  rest(data: string | Uint8Array): void {
    if (typeof data === 'string') {
      this.#end += this.#bytes.write(data, this.#end)
    } else {
      this.#bytes.set(data, this.#end)
      this.#end += data.length
    }
  }

  /** Returns the bytes that were written. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#end)
  }
}

/**
 * Reads the bytes of a {@link WireWriter}. Every method throws a WSHUB_ERR_ENVELOPE when they are malformed.
 */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw malformed('it ends too early')
    return value
  }

  varint(): number {
    let value = 0
    let factor = 1
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
      factor *= 0x80
    }
    throw malformed('a number is too large')
  }

  text(): string {
    const header = this.varint()
    const width = header % 2
    const length = Math.floor(header / 2) * (width === WIDE ? 2 : 1)
    const start = this.#at
    if (length > this.#bytes.length - start) throw malformed('a string is longer than the rest')
    this.#at += length
    return this.#bytes.toString(width === WIDE ? 'utf16le' : 'latin1', start, this.#at)
  }

  /**
   * Reads strings. Each takes at least one byte, so a false count costs no more than the bytes that arrived.
   */
  texts(): string[] {
    const count = this.varint()
    const values: string[] = []
    while (values.length < count) values.push(this.text())
    return values
  }

  /** Reads the names of rooms, none of which is empty. */
  rooms(): string[] {
    const rooms = this.texts()
    if (rooms.includes('')) throw malformed('empty room name')
    return rooms
  }

  /** Returns all bytes that are left, as a view. */
  rest(): Buffer {
    const rest = this.#bytes.subarray(this.#at)
    this.#at = this.#bytes.length
    return rest
  }
}

/** Returns the most bytes that {@link WireWriter.text} writes for a string. */
export function textCapacity(value: string): number {
  return MAX_VARINT_BYTES + value.length * 2
}

/** Returns how many bytes {@link WireWriter.text} writes for a string of less than a million characters. */
export function textBytes(value: string): number {
  return 3 + (isNarrow(value) ? value.length : value.length * 2)
}

/** Returns the most bytes that {@link WireWriter.texts} writes. */
export function textsCapacity(values: readonly string[]): number {
  let capacity = MAX_VARINT_BYTES
  for (const value of values) capacity += textCapacity(value)
  return capacity
}

/** Returns the error for bytes that are not an envelope. */
export function malformed(why: string, cause?: unknown): HubError {
  return new HubError('WSHUB_ERR_ENVELOPE', `a message of the cluster is malformed: ${why}`, { cause })
}

/** Returns the error for what a newer version has written. */
export function tooNew(what: string): HubError {
  return new HubError('WSHUB_ERR_ENVELOPE_VERSION', `a message of the cluster has ${what}`)
}

function isNarrow(value: string): boolean {
  return !/[\u0100-\uffff]/.test(value)
}
