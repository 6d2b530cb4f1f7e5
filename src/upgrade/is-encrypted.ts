import type { Duplex } from 'node:stream'

/** Returns whether a socket uses TLS. Node's has `encrypted` only then; on Bun every socket has it. */
export function isEncrypted(socket: Duplex): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}
