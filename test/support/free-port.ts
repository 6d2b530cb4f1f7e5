import { once } from 'node:events'
import { createServer } from 'node:http'

/**
 * Outgoing connections have theirs from 32 768 on (Linux) or higher: while a server is away, none of them
 * takes its port.
 */
const FIRST = 10_000
const COUNT = 22_768

/**
 * A port of 127.0.0.1 that nobody listens on, and that is still free when its server is killed and comes
 * back.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
