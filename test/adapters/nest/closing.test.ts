import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Test } from '@nestjs/testing'
import { interval } from 'rxjs'
import { afterEach, describe, expect, it } from 'vitest'
import { type Connection, Hub } from 'wshub'
import { HubAdapter } from 'wshub/nest'
import { connect } from 'wshub/testing'
import { compiled } from '../../support/compiled.ts'
import { destroyClients, Gate, inTime, RawClient, until } from '../../support/raw.ts'
import { closeNest, makeNest, PLATFORMS, startNest } from './application.ts'
import { gateway } from './decorations.ts'

const PROGRAM = fileURLToPath(new URL('shutdown-program.ts', import.meta.url))

afterEach(async () => {
  destroyClients()
  await closeNest()
})

class Echo {
  echo(_connection: Connection, data: unknown) {
    return data
  }
}

describe.each(PLATFORMS)('The hub of a Nest application over %s', (platform) => {
  it('says goodbye when the application closes, after the answers that are due', async () => {
    const gate = new Gate()
    const ends: string[] = []
    class Chat extends Echo {
      async slow() {
        await gate.opened
        return 'due'
      }
      ticks() {
        return interval(60_000)
      }
      handleDisconnect(_connection: Connection, reason: string) {
        ends.push(reason)
      }
    }
    const app = await startNest({
      platform,
      providers: [gateway({}, Chat)],
      adapter: { close: { timeoutMs: 600_000 } },
    })
    const client = await app.client()
    for (const event of ['slow', 'ticks']) client.send(event)
    expect(await client.ask('echo', 'marker')).toBe('marker')
    const closed = app.app.close()
    await until('the hub to close', () => app.hub.state === 'closing')
    gate.open()
    expect(await client.next()).toBe('due')
    expect(await client.raw.closed()).toBe(1001)
    await inTime('the application to close', closed)
    expect(app.hub.state).toBe('closed')
    expect(ends).toEqual(['1001'])
  })

  it('closes as the option says', async () => {
    const app = await startNest({
      platform,
      providers: [gateway({}, class extends Echo {})],
      adapter: { close: { code: 4000, reason: 'deploy' } },
    })
    const client = await app.client()
    const closed = app.app.close()
    const { payload } = await client.raw.frame()
    expect([payload.readUInt16BE(0), payload.subarray(2).toString()]).toEqual([4000, 'deploy'])
    client.raw.close(4000)
    await inTime('the application to close', closed)
  })

  it('closes without gateways, too', async () => {
    const { app, hub } = await makeNest({ platform, providers: [] })
    await app.init()
    await app.close()
    expect(hub.state).toBe('closed')
  })

  it('stays open if it is shared, but leaves the server that closes', async () => {
    const hub = new Hub()
    const options = { platform, adapter: { hub } }
    const one = await startNest({ ...options, providers: [gateway({ path: '/one' }, class extends Echo {})] })
    const two = await startNest({ ...options, providers: [gateway({ path: '/two' }, class extends Echo {})] })
    const [first, second] = [await one.client('/one'), await two.client('/two')]
    expect(one.hub).toBe(hub)
    expect(hub.size).toBe(2)
    const closed = one.app.close()
    expect(await first.raw.closed()).toBe(1001)
    await inTime('the application to close', closed)
    expect(await second.ask('echo', 'still served')).toBe('still served')
    expect(hub.state).toBe('open')
    second.raw.destroy()
    await hub.close()
  })

  it('is separate from that of another application, and of the next one on its port', async () => {
    const start = (port?: number) =>
      startNest({ platform, providers: [gateway({}, class extends Echo {})], ...(port && { port }) })
    const [old, other] = [await start(), await start()]
    const [leaver, stayer] = [await old.client(), await other.client()]
    expect([old.hub.size, other.hub.size]).toEqual([1, 1])
    const closed = old.app.close()
    expect(await leaver.raw.closed()).toBe(1001)
    await inTime('the application to close', closed)
    const next = await start(old.port)
    expect(await (await next.client()).ask('echo', 'again')).toBe('again')
    expect(await stayer.ask('echo', 'not affected')).toBe('not affected')
  })
})

describe('A testing module of Nest', () => {
  it('is reached by the test client in memory, without a port', async () => {
    const chat = gateway({ path: '/chat' }, class extends Echo {})
    const module = await Test.createTestingModule({ providers: [chat] }).compile()
    const app = module.createNestApplication()
    app.useWebSocketAdapter(new HubAdapter(app))
    await app.init()
    const client = await connect(app.getHttpServer(), '/chat', { timeoutMs: 0 })
    client.send('{"event":"echo","data":"hello"}')
    expect((await client.next()).data).toBe('"hello"')
    await inTime('the application to close', app.close())
    expect(await client.closed).toEqual({ code: 1001, reason: '' })
  })
})

describe('The shutdown hooks of Nest', () => {
  it('close the hub when the process gets a signal', async () => {
    const child = fork(compiled(PROGRAM), { execArgv: [] })
    try {
      const [port] = await inTime('the program to start', once(child, 'message'))
      const client = await RawClient.open({ port }, '/')
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      expect(await client.closed()).toBe(1001)
      expect(await inTime('the program to end', exited)).toEqual([null, 'SIGTERM']) // Nest sends it again
    } finally {
      child.kill('SIGKILL')
    }
  })
})
