import { MASK } from './frame.ts'

const LENGTH = 0x7f

/** Bytes of the mask at the end of a masked frame's header. */
export const MASK_BYTES = 4

/** Bytes of the header at that place, as far as those that are there tell. @see RFC 6455 §5.2 */
export function headerBytes(chunk: Buffer, at: number): number {
  const second = chunk[at + 1] ?? 0
  const length = second & LENGTH
  const lengthBytes = length === 127 ? 8 : length === 126 ? 2 : 0
  return 2 + lengthBytes + (second & MASK ? MASK_BYTES : 0)
}

/** Bytes of the payload behind the header at that place. */
export function payloadBytes(chunk: Buffer, at: number): number {
  const length = (chunk[at + 1] ?? 0) & LENGTH
  if (length === 126) return chunk.readUInt16BE(at + 2)
  if (length === 127) return chunk.readUInt32BE(at + 2) * 2 ** 32 + chunk.readUInt32BE(at + 6)
  return length
}
