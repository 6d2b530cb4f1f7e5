import { readFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type EventHandler, type HistoryOptions, memoryHistory, stampJson } from 'wshub'
import { connect } from 'wshub/client'
import { launchChromium } from '../support/chromium.ts'
import { type HubServer, inTime, Journal, serve } from '../support/hub-server.ts'
import { bundleForPage } from './bundle.ts'
import { QUICK } from './support.ts'

const docs = readFileSync(new URL('../../docs/client.md', import.meta.url), 'utf8')
const [, program = ''] = /^```js\n\/\/ page\.js\n(.*?)^```$/ms.exec(docs) ?? []

/** The handler of docs/client.md. */
const handler: EventHandler = {
  async onMessage(conn, message) {
    const { join, since } = JSON.parse(message.data.toString())
    const { position, ended } = await conn.hub.resumeRoom(conn, join, { since })
    if (ended === undefined) conn.sendText(JSON.stringify({ room: join, start: position }))
  },
  onBehind: (conn, room) => conn.sendText(JSON.stringify({ room, isBehind: true })),
}

const ROOMS = ['tea', 'coffee']

/** A hub with a history. While its clients are away, their upgrades are refused. */
async function serveRooms(more: Partial<HistoryOptions> = {}) {
  let areAway = false
  const history = { store: memoryHistory(), rooms: () => ({ maxMessages: 200 }), stamp: stampJson, ...more }
  const app = await serve({ history }, handler, {
    before(req) {
      if (areAway && req.headers.upgrade !== undefined) throw new Error('no network')
    },
  })
  return {
    app,
    publish: (room: string, text: string) => app.hub.publish(room, JSON.stringify({ room, text })),
    async whileAway(run: () => Promise<void>) {
      areAway = true
      for (const connection of app.hub.connections()) connection.terminate()
      await run()
      areAway = false
    },
  }
}

/** Publishes to all rooms while the client is there, and while it is away. @returns what each room has */
async function goAndComeBack(
  { publish, whileAway }: Awaited<ReturnType<typeof serveRooms>>,
  joined: (count: number) => Promise<unknown>,
): Promise<Map<string, string[]>> {
  const all = new Map(ROOMS.map((room): [string, string[]] => [room, []]))
  const say = async (text: string) => {
    for (const room of ROOMS) {
      all.get(room)?.push(text)
      await publish(room, text)
    }
  }
  await joined(1)
  for (let round = 0; round < 4; round++) {
    // In the first round before any message.
    await whileAway(async () => {
      for (let index = 0; index < 20; index++) await say(`missed ${round} ${index}`)
    })
    await joined(round + 2)
    await say(`live ${round}`)
  }
  return all
}

describe('positionOf and onReconnect', () => {
  it('bring a client back to each of its rooms through resumeRoom, in order and once', async () => {
    const rooms = await serveRooms()
    const starts = new Map<string, string>()
    const log = new Journal<{ room: string; text?: string; start?: string; isBehind?: boolean }>()
    const socket = connect(rooms.app.url, {
      ...QUICK,
      positionOf(data) {
        const { room, at } = JSON.parse(String(data))
        return at === undefined ? undefined : { room, position: at }
      },
      onReconnect(socket, positions) {
        for (const join of ROOMS) {
          socket.send(JSON.stringify({ join, since: positions.get(join) ?? starts.get(join) }))
        }
      },
    })
    onTestFinished(() => socket.close())
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      if (message.start !== undefined) starts.set(message.room, message.start)
      log.push(message)
    }
    for (const join of ROOMS) socket.send(JSON.stringify({ join }))
    const answers = () => log.all.filter(({ start }) => start !== undefined)
    const sent = await goAndComeBack(rooms, (count) =>
      log.until(`${count} answers for each room`, () => answers().length === count * ROOMS.length),
    )
    await log.until('the last', (all) => all.filter(({ text }) => text === 'live 3').length === ROOMS.length)
    for (const [room, texts] of sent) {
      expect(log.all.flatMap((each) => (each.room === room ? (each.text ?? []) : []))).toEqual(texts)
    }
    expect(log.all.filter(({ isBehind }) => isBehind)).toEqual([])
  })

  it('tell the client at once when its position is not kept any more', async () => {
    const { app, publish, whileAway } = await serveRooms({ maxCachedBytes: 0 })
    const log = new Journal<string>()
    const socket = connect(app.url, {
      ...QUICK,
      positionOf: (data) => ({ room: 'tea', position: JSON.parse(String(data)).at }),
      onReconnect: (socket, positions) =>
        socket.send(JSON.stringify({ join: 'tea', since: positions.get('tea') })),
    })
    onTestFinished(() => socket.close())
    socket.onmessage = ({ data }) => {
      const { text, isBehind } = JSON.parse(data)
      log.push(text ?? (isBehind ? 'behind' : 'live'))
    }
    socket.send(JSON.stringify({ join: 'tea' }))
    await log.first('the answer', (entry) => entry === 'live')
    await publish('tea', 'one')
    await log.first('the message', (entry) => entry === 'one')
    await whileAway(async () => {
      for (let index = 0; index <= 200; index++) await publish('tea', `lost ${index}`)
    })
    await log.first('the news', (entry) => entry === 'behind')
    await publish('tea', 'two')
    await log.first('the next message', (entry) => entry === 'two')
    expect(log.all).toEqual(['live', 'one', 'behind', 'live', 'two'])
  })
})

describe('A positionOf or an onReconnect that throws', () => {
  it('is an error event, and stops nothing', async () => {
    const { app, publish, whileAway } = await serveRooms()
    const log = new Journal<string>()
    let connections = 0
    const socket = connect(app.url, {
      ...QUICK,
      positionOf(data) {
        if (String(data) === 'no JSON') throw new Error('no JSON')
        const { room, at } = JSON.parse(String(data))
        return at === undefined ? null : { room, position: at }
      },
      async onReconnect(socket, positions) {
        connections++
        if (connections === 1) throw new Error('the first time')
        socket.send(JSON.stringify({ join: 'tea', since: positions.get('tea') }))
      },
    })
    onTestFinished(() => socket.close())
    socket.onerror = ({ error }) => log.push(`error: ${error instanceof Error ? error.message : error}`)
    socket.onopen = () => log.push('open')
    socket.onmessage = ({ data }) => log.push(String(data).includes('text') ? JSON.parse(data).text : data)
    socket.send(JSON.stringify({ join: 'tea' }))
    await log.first('the answer', (entry) => entry.includes('start'))
    for (const connection of app.hub.connections()) connection.sendText('no JSON')
    await log.first('the message', (entry) => entry === 'no JSON')
    await publish('tea', 'one')
    await log.first('one', (entry) => entry === 'one')
    const errors = () => log.all.filter((entry) => /^error: (no JSON|the first time)$/.test(entry))
    expect(errors()).toEqual(['error: no JSON'])
    await whileAway(async () => {})
    await log.first('the second error', (entry) => entry === 'error: the first time')
    await whileAway(async () => void (await publish('tea', 'two')))
    await log.first('two', (entry) => entry === 'two')
    expect(errors()).toEqual(['error: no JSON', 'error: the first time'])
  })
})

/** Opens the page of docs/client.md in Chromium; it enters some rooms. */
async function open(app: HubServer, rooms: readonly string[]) {
  const browser = await launchChromium()
  onTestFinished(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${app.port}`)
  const { text } = await bundleForPage(`
    import { connect as original } from './client.ts'
    const connect = (path, options) =>
      original('${app.url}' + path, { ...options, minDelayMs: 1, maxDelayMs: 20 })
    ${program.replace(/^import .*$/m, '')}
    Object.assign(globalThis, { seen: [], socket, enter })
    socket.addEventListener('message', ({ data }) => seen.push(JSON.parse(data)))
    for (const room of ${JSON.stringify(rooms)}) enter(room)`)
  await page.evaluate(`{ ${text} }`)
  const reaches = (what: string, condition: string) =>
    inTime(what, page.waitForFunction(condition), () => app.log.all.slice(-50))
  return { page, reaches }
}

describe('The page of docs/client.md', () => {
  it('has the handler of this test on its other side', () => {
    const body = /async onMessage\(conn, message\) \{\n(.*?)\n {2}\}/s
    const own = readFileSync(new URL(import.meta.url), 'utf8')
    expect(body.exec(docs)?.[1]).toBe(body.exec(own)?.[1])
  })

  it('misses nothing in Chromium', async () => {
    const rooms = await serveRooms()
    const { page, reaches } = await open(rooms.app, ROOMS)
    const sent = await goAndComeBack(rooms, (count) =>
      reaches(
        `${count} answers for each room`,
        `seen.filter(({ start }) => start !== undefined).length === ${count * ROOMS.length}`,
      ),
    )
    await reaches('the last', `seen.filter(({ text }) => text === 'live 3').length === ${ROOMS.length}`)
    for (const [room, texts] of sent) {
      expect(
        await page.evaluate(`seen.flatMap((each) => (each.room === '${room}' ? (each.text ?? []) : []))`),
      ).toEqual(texts)
    }
  })

  it('loads itself again for no room that it enters while it is away, and misses nothing in those before', async () => {
    const { app, publish, whileAway } = await serveRooms()
    const { page, reaches } = await open(app, ['tea'])
    await reaches('the answer', 'seen.some(({ start }) => start !== undefined)')
    await whileAway(async () => {
      await reaches('the loss', 'socket.readyState === WebSocket.CONNECTING')
      await page.evaluate(`for (const room of ['coffee', 'tea']) enter(room)`)
      for (const text of ['missed', 'missed too']) await publish('tea', text)
    })
    await reaches(
      'an answer for coffee',
      `seen.some(({ room, start }) => room === 'coffee' && start !== undefined)`,
    )
    for (const room of ['coffee', 'tea']) await publish(room, 'live')
    await reaches('the live messages', `seen.filter(({ text }) => text === 'live').length === 2`)
    const texts = await page.evaluate(`seen.flatMap(({ room, text }) => (text ? [room + ' ' + text] : []))`)
    expect(texts).toEqual(['tea missed', 'tea missed too', 'coffee live', 'tea live'])
    expect(await page.evaluate('seen.filter(({ complete }) => complete === false)')).toEqual([])
    expect(app.hub.stats().history).toMatchObject({ incomplete: 0 })
  })
})
