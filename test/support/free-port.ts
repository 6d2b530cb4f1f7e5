import { once } from 'node:events'
import { createServer } from 'node:http'

/**
 * Outgoing connections use ports from 32 768 on (Linux) or higher, so none of them takes the port of a server
 * while it is down.
 */
const FIRST = 10_000
const COUNT = 22_768

/**
 * Returns a port of 127.0.0.1 on which no program listens, and that stays free while its server is killed and
 * restarted.
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
