import { randomBytes } from 'node:crypto'
import { HubError, show } from '../base/errors.ts'
import { checkKeys, invalid } from '../base/option-rules.ts'
import { checkClose, controlPayload, MAX_CONTROL_PAYLOAD_BYTES } from './control-frame.ts'
import {
  FIN,
  headerLength,
  LENGTH,
  MASK,
  MASK_BYTES,
  OPCODE,
  Opcode,
  payloadLength,
  RSV1,
  RSV2,
  RSV3,
  shortestHeaderLength,
  writeHeader,
} from './frame-header.ts'
import { asBuffer, type BinaryPayload, invalidPayload, type Payload, payloadBytes } from './message.ts'

/** The fields of a {@link Frame}; only `opcode` is required. */
export interface FrameInit {
  fin?: boolean
  rsv1?: boolean
  rsv2?: boolean
  rsv3?: boolean
  opcode: Opcode
  masked?: boolean
  maskKey?: Uint8Array | null
  payload?: Uint8Array
}

/** The keys of {@link FrameInit}. */
const FRAME_INIT: Record<keyof FrameInit, undefined> = {
  fin: undefined,
  rsv1: undefined,
  rsv2: undefined,
  rsv3: undefined,
  opcode: undefined,
  masked: undefined,
  maskKey: undefined,
  payload: undefined,
}

/**
 * One frame of the base framing protocol. `payload` is never masked: `encode` masks, `decode` unmasks.
 * @see RFC 6455 §5.2
 */
export class Frame {
  /** Whether this is the last fragment of its message; `true` by default. */
  readonly fin: boolean
  /** Reserved bit 1: a compressed message (RFC 7692); `false` by default. */
  readonly rsv1: boolean
  /** Reserved bit 2; `false` by default. */
  readonly rsv2: boolean
  /** Reserved bit 3; `false` by default. */
  readonly rsv3: boolean
  readonly opcode: Opcode
  /** Whether the payload is sent masked, as clients must and servers must not; `false` by default. */
  readonly masked: boolean
  /** The four bytes of the masking key, `null` when the frame is not masked. */
  readonly maskKey: Buffer | null
  /** The unmasked payload, empty by default. */
  readonly payload: Buffer

  /**
   * @throws {HubError} WSHUB_ERR_INVALID_FRAME when a control frame is fragmented or over 125 bytes, or a
   *   masking key is
   *   not 4 bytes, and for a reserved opcode; WSHUB_ERR_INVALID_PAYLOAD for a payload that is not bytes;
   *   WSHUB_ERR_INVALID_OPTION for an unknown field, or one of the wrong type
   */
  constructor(init: FrameInit) {
    checkKeys(init, FRAME_INIT, 'a field of a frame')
    const { opcode, maskKey = null, payload = EMPTY } = init
    if (!isOpcode(opcode)) throw invalidFrame(`${show(opcode)} is not an opcode of RFC 6455`)
    if (maskKey !== null && !(maskKey instanceof Uint8Array)) throw invalid('maskKey', 'is bytes', maskKey)
    if (!(payload instanceof Uint8Array)) throw invalidPayload(payload)
    this.fin = flag('fin', init.fin, true)
    this.rsv1 = flag('rsv1', init.rsv1, false)
    this.rsv2 = flag('rsv2', init.rsv2, false)
    this.rsv3 = flag('rsv3', init.rsv3, false)
    this.opcode = opcode
    this.masked = flag('masked', init.masked, maskKey !== null)
    this.maskKey = this.masked ? asBuffer(maskKey ?? randomBytes(MASK_BYTES)) : null
    this.payload = asBuffer(payload)
    if (this.maskKey !== null && this.maskKey.length !== MASK_BYTES)
      throw invalidFrame('a masking key has 4 bytes')
    checkControl(this.opcode, this.fin, this.payload.length)
  }

  /** Returns a text frame. @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is not a string */
  static text(data: string): Frame {
    if (typeof data !== 'string') throw invalidPayload(data)
    return new Frame({ opcode: Opcode.text, payload: Buffer.from(data) })
  }

  /** Returns a binary frame. @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is not bytes */
  static binary(data: BinaryPayload): Frame {
    return new Frame({ opcode: Opcode.binary, payload: payloadBytes(data) })
  }

  /** Returns a ping frame. @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG when `data` takes over 125 bytes */
  static ping(data: Payload = ''): Frame {
    return new Frame({ opcode: Opcode.ping, payload: controlPayload(data) })
  }

  /** Returns a pong frame. @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG when `data` takes over 125 bytes */
  static pong(data: Payload = ''): Frame {
    return new Frame({ opcode: Opcode.pong, payload: controlPayload(data) })
  }

  /**
   * Returns a close frame; without a code, its payload is empty.
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE when the code may not be sent or the reason takes over 123
   *   bytes of UTF-8
   */
  static close(code?: number, reason = ''): Frame {
    checkClose(code, reason)
    if (code === undefined) return new Frame({ opcode: Opcode.close })
    const payload = Buffer.allocUnsafe(2 + Buffer.byteLength(reason))
    payload.writeUInt16BE(code, 0)
    payload.write(reason, 2)
    return new Frame({ opcode: Opcode.close, payload })
  }

  /** Returns the bytes of the frame in a new buffer: the header, and the payload, masked when `masked`. */
  encode(): Buffer {
    const length = this.payload.length
    const start = shortestHeaderLength(length) + (this.maskKey === null ? 0 : MASK_BYTES)
    const bytes = Buffer.allocUnsafe(start + length)
    writeHeader(bytes, this.#firstByte(), length)
    bytes.set(this.payload, start)
    if (this.maskKey !== null) {
      bytes[1] = (bytes[1] ?? 0) | MASK
      bytes.set(this.maskKey, start - MASK_BYTES)
      applyMask(bytes.subarray(start), this.maskKey)
    }
    return bytes
  }

  /**
   * Returns the first frame in `buffer` and how many bytes it takes; `null` while it is incomplete. The
   * payload is a copy if the frame is masked, else a view of `buffer`. Reserved bits and a missing mask are
   * accepted: whether they are errors depends on the connection.
   * @throws {HubError} WSHUB_ERR_INVALID_FRAME when it breaks RFC 6455 §5: a reserved opcode, a length that
   *   is not in
   *   its shortest form or over 2^53 - 1, a control frame that is fragmented or over 125 bytes
   */
  static decode(buffer: Uint8Array): { frame: Frame; bytes: number } | null {
    const bytes = asBuffer(payloadBytes(buffer))
    const first = bytes[0]
    const second = bytes[1]
    if (first === undefined || second === undefined) return null
    const opcode = first & OPCODE
    if (!isOpcode(opcode)) throw invalidFrame(`opcode 0x${opcode.toString(16)} is reserved`)
    const fin = (first & FIN) !== 0
    const masked = (second & MASK) !== 0
    checkControl(opcode, fin, second & LENGTH)
    const start = headerLength(bytes, 0)
    const maskAt = masked ? start - MASK_BYTES : start
    if (bytes.length < maskAt) return null
    const length = payloadLength(bytes, 0)
    if (length > Number.MAX_SAFE_INTEGER) throw invalidFrame('the payload is longer than 2^53 - 1 bytes')
    if (maskAt !== shortestHeaderLength(length)) {
      throw invalidFrame('the payload length is not in its shortest form')
    }
    if (bytes.length < start + length) return null
    const maskKey = masked ? Buffer.from(bytes.subarray(maskAt, start)) : null
    const view = bytes.subarray(start, start + length)
    const payload = maskKey === null ? view : Buffer.from(view)
    if (maskKey !== null) applyMask(payload, maskKey)
    const frame = new Frame({
      fin,
      rsv1: (first & RSV1) !== 0,
      rsv2: (first & RSV2) !== 0,
      rsv3: (first & RSV3) !== 0,
      opcode,
      masked,
      maskKey,
      payload,
    })
    return { frame, bytes: start + length }
  }

  #firstByte(): number {
    return (
      (this.fin ? FIN : 0) |
      (this.rsv1 ? RSV1 : 0) |
      (this.rsv2 ? RSV2 : 0) |
      (this.rsv3 ? RSV3 : 0) |
      this.opcode
    )
  }
}

const EMPTY = Buffer.alloc(0)

function applyMask(bytes: Buffer, key: Buffer): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ (key[i & 3] ?? 0)
}

const OPCODES: ReadonlySet<unknown> = new Set(Object.values(Opcode))

function isOpcode(value: unknown): value is Opcode {
  return OPCODES.has(value)
}

function flag(key: string, value: boolean | undefined, byDefault: boolean): boolean {
  if (value === undefined) return byDefault
  if (typeof value === 'boolean') return value
  throw invalid(key, 'is true or false', value)
}

function checkControl(opcode: Opcode, fin: boolean, length: number): void {
  if (opcode < Opcode.close) return
  if (!fin) throw invalidFrame('a control frame is never fragmented')
  if (length > MAX_CONTROL_PAYLOAD_BYTES) {
    throw invalidFrame(`a control frame carries at most ${MAX_CONTROL_PAYLOAD_BYTES} bytes`)
  }
}

function invalidFrame(message: string): HubError {
  return new HubError('WSHUB_ERR_INVALID_FRAME', message)
}
