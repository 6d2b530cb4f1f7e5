/**
 * Frame opcodes; 0x3–0x7 and 0xB–0xF are reserved.
 * @see RFC 6455 §5.2
 */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const

/** An opcode that RFC 6455 defines. */
export type Opcode = (typeof Opcode)[keyof typeof Opcode]

// Bits of the first byte of a header.
/** The frame is the last one of its message. */
export const FIN = 0x80
/** The message is compressed; only its first frame says so. @see RFC 7692 §6 */
export const RSV1 = 0x40
export const RSV2 = 0x20
export const RSV3 = 0x10
export const OPCODE = 0x0f

// Bits of the second byte.
/** The payload is masked. */
export const MASK = 0x80
export const LENGTH = 0x7f
/** Values of `LENGTH` for a length in the next two or eight bytes. */
const LENGTH_16 = 126
const LENGTH_64 = 127

/** Bytes of the masking key, which ends the header of a masked frame. */
export const MASK_BYTES = 4

/**
 * Returns the length of the header at `at`. Before its second byte has arrived, it returns 2.
 * @see RFC 6455 §5.2
 */
export function headerLength(bytes: Buffer, at: number): number {
  const second = bytes[at + 1] ?? 0
  const length = second & LENGTH
  const lengthBytes = length === LENGTH_64 ? 8 : length === LENGTH_16 ? 2 : 0
  return 2 + lengthBytes + (second & MASK ? MASK_BYTES : 0)
}

/** Returns the length of the payload that follows the header at `at`. Lengths from 2^53 on are rounded. */
export function payloadLength(bytes: Buffer, at: number): number {
  const length = (bytes[at + 1] ?? 0) & LENGTH
  if (length === LENGTH_16) return bytes.readUInt16BE(at + 2)
  if (length === LENGTH_64) return bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6)
  return length
}

/** Returns the length of the shortest unmasked header for a payload. */
export function shortestHeaderLength(length: number): 2 | 4 | 10 {
  return length < LENGTH_16 ? 2 : length < 65_536 ? 4 : 10
}

/** Writes the shortest unmasked header to the beginning of `bytes`. */
export function writeHeader(bytes: Buffer, firstByte: number, length: number, at = 0): void {
  bytes[at] = firstByte
  if (length < LENGTH_16) {
    bytes[at + 1] = length
  } else if (length < 65_536) {
    bytes[at + 1] = LENGTH_16
    bytes.writeUInt16BE(length, at + 2)
  } else {
    bytes[at + 1] = LENGTH_64
    bytes.writeUInt32BE(Math.floor(length / 2 ** 32), at + 2)
    bytes.writeUInt32BE(length >>> 0, at + 6)
  }
}
