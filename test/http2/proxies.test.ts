import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { echo } from '../adapters/frameworks.ts'
import { haproxy } from '../proxies/makes.ts'
import { adapt, type Make, RunningProxy } from '../proxies/support.ts'
import { accepts } from '../support/daemon.ts'
import { destroySessions } from '../support/http2-client.ts'
import { Journal } from '../support/hub-server.ts'
import { until } from '../support/raw.ts'
import { toolPath } from '../support/tools.ts'
import { serve } from './served.ts'

afterEach(destroySessions)

const page = readFileSync(new URL('../../docs/http2.md', import.meta.url), 'utf8')

/** The documented line for the application. */
const [, server = ''] = /^```haproxy\n *(server app .*)\n```$/m.exec(page) ?? []
/** The documented arguments of nghttpx. */
const [, ...nghttpxArgs] = /^nghttpx .*$/m.exec(page)?.[0].replaceAll("'", '').split(' ') ?? []

const overHttp2: Make = {
  ...haproxy,
  configuration(site, settings) {
    const line = server.replace('127.0.0.1:8080', `127.0.0.1:${settings.app}`)
    return adapt(haproxy.configuration(site, settings), { [`server app 127.0.0.1:${settings.app}`]: line })
  },
}

const nghttpx: Make = {
  name: 'nghttpx',
  statusWithoutApp: 503,
  configuration: (_site, { app }) => String(app), // it has none: the port is passed as an argument
  command(site) {
    const app = readFileSync(site.configuration, 'utf8')
    const args = nghttpxArgs.map((arg) =>
      arg
        .replace('*,443', `127.0.0.1,${site.port}`)
        .replace('127.0.0.1,8080', `127.0.0.1,${app}`)
        .replace(/^.*\.key$/, site.key)
        .replace(/^.*\.pem$/, site.certificate),
    )
    return { file: toolPath('nghttpx'), args: ['--conf=/dev/null', ...args] }
  },
  isReady: ({ port }) => accepts(port),
  reload: async () => {},
}

describe.each([
  ['HAProxy', overHttp2],
  ['nghttpx', nghttpx],
])('%s that speaks HTTP/2 to the hub', (_name, make) => {
  it('carries WebSockets of clients of HTTP/1.1 as streams', async () => {
    const closes = new Journal<number>()
    const served = await serve(
      { trustProxy: 'loopback', allowedOrigins: ['*'] },
      {
        ...echo,
        onClose: (_connection, code) => closes.push(code),
      },
    )
    const sessions = { count: 0 }
    served.server.on('session', () => sessions.count++)
    const proxy = await RunningProxy.start(make, { app: served.port })
    const clients = await Promise.all(Array.from({ length: 10 }, () => proxy.connect()))
    expect(served.requests.map(({ httpVersion }) => httpVersion)).toEqual(Array(10).fill('2.0'))
    expect(sessions.count).toBeLessThanOrEqual(10)
    const long = 'x'.repeat(60_000)
    for (const [index, client] of clients.entries()) client.socket.send(`${index} ${long}`)
    for (const [index, client] of clients.entries()) {
      client.socket.send('marker')
      expect(await client.upTo('marker')).toEqual([`${index} ${long}`])
    }
    const [first, second, third] = clients
    await first?.close(4_001)
    second?.socket.terminate()
    await closes.until('two closes', (all) => all.length === 2)
    expect(closes.all.toSorted()).toEqual([1006, 4001])
    served.hub.disconnect(() => true, 4_002)
    expect(await third?.closed()).toBe('4002')
    await until('all to be closed', () => served.hub.size === 0)
  })
})
