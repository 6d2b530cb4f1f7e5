import { EventEmitter } from 'node:events'
import { Registry } from 'prom-client'
import { expect, it, onTestFinished } from 'vitest'
import { Hub, type WebSocketLike } from 'wshub'
import { hubMetrics } from 'wshub/prometheus'

const CONNECTIONS = 15_000

/** A WebSocket that does nothing. */
class Silent extends EventEmitter {
  readonly readyState = 1
  readonly protocol = ''
  readonly extensions = ''
  readonly bufferedAmount = 0
  readonly isPaused = false
  send(): void {}
  ping(): void {}
  pong(): void {}
  close(): void {}
  terminate(): void {
    this.emit('close', 1006, Buffer.alloc(0))
  }
  pause(): void {}
  resume(): void {}
}

it(`A scrape of ${CONNECTIONS} connections takes at most 10 ms of a core`, async () => {
  const hub = new Hub({ maxConnections: CONNECTIONS, pingIntervalMs: 0 })
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 0 })
  })
  for (let count = 0; count < CONNECTIONS; count++) {
    hub.register(new Silent() as unknown as WebSocketLike, {}) // has what a hub uses of one
  }
  const register = new Registry()
  hubMetrics(hub, { register })
  const costsMs: number[] = []
  for (let count = 0; count < 20; count++) {
    const before = process.cpuUsage()
    const text = await register.metrics()
    const { user, system } = process.cpuUsage(before)
    costsMs.push((user + system) / 1_000)
    expect(text).toContain(`wshub_connections{state="open"} ${CONNECTIONS}`)
  }
  // The least of them: others pay for compiling, and for garbage that was there before.
  expect(Math.min(...costsMs)).toBeLessThan(10)
})
