import { FIN, headerLength, OPCODE, Opcode, RSV1, shortestHeaderLength, writeHeader } from './frame-header.ts'
import { type Payload, payloadBytes } from './message.ts'

/**
 * Returns a whole message as one unmasked frame, header and payload in one buffer. All connections that
 * receive the message share that buffer. Unlike `Frame#encode`, it makes no buffer for the payload of a text
 * message alone.
 */
export function encodeMessage(data: Payload): Buffer {
  if (typeof data !== 'string') return encodeFrame(FIN | Opcode.binary, payloadBytes(data))
  return new TextFrame(data).encode()
}

/** The frame of a whole message: encoded, or a text that has yet to be. */
export type MessageFrame = Buffer | TextFrame

/**
 * Returns the frame of a message to one connection. A text is encoded where it is written together with
 * others, without a buffer of its own (`npm run bench -- echo-deep`).
 */
export function frameOf(data: Payload): MessageFrame {
  return typeof data === 'string' ? new TextFrame(data) : encodeMessage(data)
}

/** Returns the bytes of a frame. */
export function encodedFrame(frame: MessageFrame): Buffer {
  return frame instanceof TextFrame ? frame.encode() : frame
}

/** Writes a frame to `bytes`. */
export function writeFrame(frame: MessageFrame, bytes: Buffer, at: number): void {
  if (frame instanceof TextFrame) frame.writeTo(bytes, at)
  else bytes.set(frame, at)
}

/** A text message that is encoded when it is known where its bytes go. */
class TextFrame {
  /** Bytes of header and payload. */
  readonly length: number
  readonly #text: string
  readonly #payloadLength: number

  constructor(text: string) {
    this.#text = text
    this.#payloadLength = Buffer.byteLength(text)
    this.length = shortestHeaderLength(this.#payloadLength) + this.#payloadLength
  }

  encode(): Buffer {
    const bytes = Buffer.allocUnsafe(this.length)
    this.writeTo(bytes, 0)
    return bytes
  }

  writeTo(bytes: Buffer, at: number): void {
    const length = this.#payloadLength
    writeHeader(bytes, FIN | Opcode.text, length, at)
    // With as many bytes as characters it is ASCII, which is only copied.
    bytes.write(this.#text, at + this.length - length, length === this.#text.length ? 'latin1' : 'utf8')
  }
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
