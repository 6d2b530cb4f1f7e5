import { MASK_BYTES } from './frame-header.ts'

/**
 * Unmasks the payload between `start` and `end`, where it is, by the masking key in front of it, which
 * becomes zero: to unmask it again changes nothing.
 */
export function unmask(bytes: Buffer, start: number, end: number): void {
  const keyAt = start - MASK_BYTES
  // A view, since payloads are seldom aligned to words.
  const view = new DataView(bytes.buffer, bytes.byteOffset, end)
  const key = view.getInt32(keyAt)
  let at = start
  for (; at + MASK_BYTES <= end; at += MASK_BYTES) view.setInt32(at, view.getInt32(at) ^ key)
  for (let i = keyAt; at < end; at++, i++) bytes[at] = (bytes[at] ?? 0) ^ (bytes[i] ?? 0)
  view.setInt32(keyAt, 0)
}
