import { constants, inflateRawSync } from 'node:zlib'

/** Inflates the payloads of one sender, in their order. */
export type Decoder = (payload: Buffer) => string

// The bytes that RFC 7692 §7.2.1 removes from the end of each message.
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff])

/** Inflates messages with the parameters that a server chose in its 101. */
export function createInflater(response: string): Decoder {
  return response.includes('server_no_context_takeover') ? inflateAlone : inflateInContext()
}

function inflateAlone(payload: Buffer): string {
  return inflate(payload).toString('latin1')
}

/** For a server that keeps its compression context: its earlier messages are the dictionary. */
function inflateInContext(): Decoder {
  let window = Buffer.alloc(0)
  return (payload) => {
    const message = inflate(payload, window)
    window = Buffer.from(Buffer.concat([window, message]).subarray(-32_768))
    return message.toString('latin1')
  }
}

function inflate(payload: Buffer, window = Buffer.alloc(0)): Buffer {
  return inflateRawSync(Buffer.concat([payload, TAIL]), {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(window.length > 0 && { dictionary: window }),
  })
}
