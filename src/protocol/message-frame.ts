import { FIN, headerLength, OPCODE, Opcode, RSV1, shortestHeaderLength, writeHeader } from './frame-header.ts'
import { type Payload, payloadBytes } from './message.ts'

/**
 * Returns a whole message as one unmasked frame, header and payload in one buffer. All connections that
 * receive the message share that buffer. Unlike `Frame#encode`, it makes no buffer for the payload of a text
 * message alone.
 */
export function encodeMessage(data: Payload): Buffer {
  if (typeof data !== 'string') return encodeFrame(FIN | Opcode.binary, payloadBytes(data))
  const length = Buffer.byteLength(data)
  const start = shortestHeaderLength(length)
  const bytes = Buffer.allocUnsafe(start + length)
  writeHeader(bytes, FIN | Opcode.text, length)
  bytes.write(data, start)
  return bytes
}

/** Returns a compressed message (RSV1) of the same type as `frame`, which {@link encodeMessage} made. */
export function encodeDeflated(frame: Buffer, deflated: Uint8Array): Buffer {
  return encodeFrame((frame[0] ?? 0) | RSV1, deflated)
}

/** Returns the payload of a frame that {@link encodeMessage} made, as a view. */
export function payloadOf(frame: Buffer): Buffer {
  return frame.subarray(headerLength(frame, 0))
}

/** Returns whether a frame is a compressed message. */
export function isCompressedFrame(frame: Buffer): boolean {
  return ((frame[0] ?? 0) & RSV1) !== 0
}

/** Returns whether a frame that {@link encodeMessage} made is a text message. */
export function isTextFrame(frame: Buffer): boolean {
  return ((frame[0] ?? 0) & OPCODE) === Opcode.text
}

function encodeFrame(firstByte: number, payload: Uint8Array): Buffer {
  const start = shortestHeaderLength(payload.length)
  const bytes = Buffer.allocUnsafe(start + payload.length)
  writeHeader(bytes, firstByte, payload.length)
  bytes.set(payload, start)
  return bytes
}
