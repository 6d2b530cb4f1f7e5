/** The bytes of frames, correct or malformed. */
import { Opcode } from 'wshub'

/** A frame as it is written on the wire: every field is written as given, even if it is wrong. */
export interface WireFrame {
  /** 0–15, of which RFC 6455 knows six. */
  opcode: number
  /** Default true. */
  fin?: boolean
  /** The three reserved bits, RSV1 = 4, RSV2 = 2, RSV3 = 1. Default 0. */
  rsv?: number
  /** `null` leaves the frame unmasked. Default 01 02 03 04. */
  mask?: readonly number[] | null
  payload?: Uint8Array | string
  /** Bits of the length field. Default the shortest form. */
  form?: 7 | 16 | 64
  /** The length in the header. Default that of the payload. */
  length?: bigint
}

export function wire({
  opcode,
  fin = true,
  rsv = 0,
  mask = [1, 2, 3, 4],
  payload = '',
  form,
  length,
}: WireFrame): Buffer {
  const body = Buffer.from(payload)
  const announced = length ?? BigInt(body.length)
  const bits = form ?? (announced < 126 ? 7 : announced < 65_536 ? 16 : 64)
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const masked = mask === null ? 0 : 0x80
  if (bits === 7) {
    head[1] = masked | Number(announced)
  } else if (bits === 16) {
    head[1] = masked | 126
    head.writeUInt16BE(Number(announced), 2)
  } else {
    head[1] = masked | 127
    head.writeBigUInt64BE(announced, 2)
  }
  if (mask === null) return Buffer.concat([head, body])
  for (let i = 0; i < body.length; i++) body[i] = (body[i] ?? 0) ^ (mask[i & 3] ?? 0)
  return Buffer.concat([head, Buffer.from(mask), body])
}

/** The fragments of a message: the first names its opcode and rsv, the last has FIN. */
export function fragments(
  opcode: number,
  payloads: readonly (Uint8Array | string)[],
  rsv = 0,
): [first: Buffer, ...rest: Buffer[]] {
  const [first = '', ...rest] = payloads
  const last = rest.length - 1
  return [
    wire({ opcode, rsv, fin: rest.length === 0, payload: first }),
    ...rest.map((payload, i) => wire({ opcode: Opcode.continuation, fin: i === last, payload })),
  ]
}

/** A message in fragments of the given size. */
export function inFragments(opcode: number, payload: Uint8Array, bytes: number, rsv = 0): Buffer[] {
  return fragments(opcode, inPieces(payload, bytes), rsv)
}

export function inPieces(bytes: Uint8Array, length: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let i = 0; i < bytes.length || i === 0; i += length) pieces.push(bytes.subarray(i, i + length))
  return pieces
}

export const text = (payload: Uint8Array | string) => wire({ opcode: Opcode.text, payload })
export const binary = (payload: Uint8Array) => wire({ opcode: Opcode.binary, payload })
export const ping = (payload: Uint8Array | string = '') => wire({ opcode: Opcode.ping, payload })
export const pong = (payload: Uint8Array | string = '') => wire({ opcode: Opcode.pong, payload })

/** A close frame; without a code it is empty. */
export function close(code?: number, reason: Uint8Array | string = ''): Buffer {
  return wire({ opcode: Opcode.close, payload: closePayload(code, reason) })
}

export function closePayload(code?: number, reason: Uint8Array | string = ''): Buffer {
  if (code === undefined) return Buffer.alloc(0)
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
}
