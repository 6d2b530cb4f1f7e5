// Runs in a page or in Node: the client, and what a test needs to see of it there.
import { type ConnectOptions, connect } from '../../client/client.ts'

interface Recorded {
  readonly socket: ReturnType<typeof connect>
  readonly log: string[]
}

/** Connects with short delays, and keeps what happens. */
export function record(url: string, options: ConnectOptions = {}): Recorded {
  const socket = connect(url, { minDelayMs: 1, maxDelayMs: 20, ...options })
  const log: string[] = []
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => log.push('open')
  socket.onmessage = ({ data }) =>
    log.push(typeof data === 'string' ? `text ${data}` : `binary ${new Uint8Array(data)}`)
  socket.onerror = () => log.push('error')
  socket.onclose = ({ code, reason, wasClean }) =>
    log.push(`close ${code} ${reason} ${wasClean ? 'clean' : 'unclean'} ${socket.readyState}`)
  return { socket, log }
}

/** Resolves when a line has been logged so many times. */
export function logged({ log }: Recorded, line: string, count = 1): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (log.filter((each) => each.startsWith(line)).length >= count) resolve()
      else setTimeout(look, 2)
    }
    look()
  })
}
