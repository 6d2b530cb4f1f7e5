// wshub, built (`npm run build`), over TLS: HTTP/1.1 or HTTP/2.

import { execFileSync } from 'node:child_process'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hub } from 'wshub'
import { answerCalls } from './answer-calls.mjs'
import { listenOnLoopback } from './serve.mjs'

const CERTIFICATE =
  'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout - -out -'
const MAX_CLIENTS = 20_000

const hub = new Hub({ maxConnections: MAX_CLIENTS, limits: { maxConnectionsPerSession: MAX_CLIENTS } })

answerCalls({
  async listen({ isHttp2 }) {
    const pem = execFileSync('openssl', CERTIFICATE.split(' '), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const server = isHttp2
      ? createSecureServer({ key: pem, cert: pem })
      : createServer({ key: pem, cert: pem })
    hub.attach(server)
    server.on('request', (request) => hub.upgrade(request, {}))
    const { version } = createRequire(import.meta.url)('wshub/package.json')
    return { port: await listenOnLoopback(server), version }
  },

  /** Sends a message a turn to all. Resolves when all are sent, with the CPU time that took. */
  async broadcast({ messages, payloadBytes }) {
    const text = 'x'.repeat(payloadBytes)
    const before = process.cpuUsage()
    for (let sent = 0; sent < messages; sent++) {
      hub.broadcast(text)
      await new Promise((resolve) => setImmediate(resolve))
      while (hub.connections()[0]?.bufferedBytes > 8_000) await sleep(1)
    }
    while (hub.connections().some(({ bufferedBytes }) => bufferedBytes > 0)) await sleep(5)
    const { user, system } = process.cpuUsage(before)
    return user + system
  },
})
