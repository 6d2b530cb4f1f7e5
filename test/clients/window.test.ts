import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { expect, it, onTestFinished } from 'vitest'
import type { Connection, EventHandler } from 'wshub'
import { launchChromium } from '../support/chromium.ts'
import { Firefox } from '../support/firefox.ts'
import { type HubServer, Journal, serve, turn } from '../support/hub-server.ts'
import { TEST_MS } from '../support/in-time.ts'
import { BUILTIN_WEBSOCKET, toolPath } from '../support/tools.ts'

// WINDOW_MESSAGES=1000000 npx vitest run test/clients/window.test.ts for a longer run

/** The messages that each client gets at least. */
const MESSAGES = Number(process.env.WINDOW_MESSAGES ?? 2_500)
const BATCH = 500
const TOLD_EVERY = 100_000
/** More than the slowest client needs for a message. */
const MS_PER_MESSAGE = 8

const KINDS = ['builtin', 'undici', 'ws', 'python', 'chromium', 'firefox']
const ROOMS = ['trades', 'chat', 'map']

const fileOf = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** The messages that a client must have received since it connected. */
interface Digest {
  readonly connection: Connection
  count: number
  crc: number
}

/** The clients, by their names, and what they say. */
class Clients {
  readonly byName = new Map<string, Digest>()
  /** The messages of each, those before it was cut included. */
  readonly received = new Map(KINDS.map((name) => [name, 0]))
  readonly said = new Journal<string>()
  readonly handler: EventHandler = {
    onMessage: (connection, { data }) => {
      const [verb, ...rest] = data.toString().split(' ')
      if (verb === 'hello') this.byName.set(rest.join(' '), { connection, count: 0, crc: 0 })
      this.said.push(verb === 'hello' ? data.toString() : `${this.#nameOf(connection)} ${rest.join(' ')}`)
    },
    onClose: (connection) => void this.byName.delete(this.#nameOf(connection)),
    onError: () => {}, // of those that are cut
  }

  /** Notes that a message was sent to some of them. */
  note(text: string, isReceiver: (connection: Connection) => boolean): void {
    const bytes = Buffer.from(text)
    for (const [name, digest] of this.byName) {
      if (!isReceiver(digest.connection)) continue
      this.received.set(name, (this.received.get(name) ?? 0) + 1)
      digest.count++
      digest.crc = crc32(bytes, digest.crc)
    }
  }

  /** Waits until each has received everything, and returns those that have received something else. */
  async wrong(): Promise<string[]> {
    const expected = [...this.byName].map(([name, { connection, count, crc }]) => {
      connection.sendText('report')
      return { name, answer: `${name} ${count} ${crc}` }
    })
    const before = this.said.all.length
    const answers = await this.said.until('a report of each client', (all) => {
      return expected.every(({ name }) => all.slice(before).some((answer) => answer.startsWith(`${name} `)))
    })
    const wrong = expected.filter(({ answer }) => !answers.slice(before).includes(answer))
    this.said.all.length = 0
    return wrong.map(({ answer }) => answer)
  }

  #nameOf(connection: Connection): string {
    return [...this.byName].find(([, digest]) => digest.connection === connection)?.[0] ?? ''
  }
}

/** Starts a client of each kind. */
async function startAll({ url, port }: HubServer): Promise<void> {
  const node = 'WebSocket' in globalThis ? process.execPath : process.env[BUILTIN_WEBSOCKET.variable]
  if (node === undefined) throw new Error('test/support/setup.ts has found no Node with a WebSocket')
  const run = (file: string, args: readonly string[]) => {
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
  }
  run(node, [fileOf('digest-node.mjs'), 'builtin', url])
  run(process.execPath, [fileOf('digest-node.mjs'), 'undici', url])
  run(process.execPath, [fileOf('digest-node.mjs'), 'ws', url])
  run(toolPath('python'), [fileOf('digest-client.py'), url])

  const source = readFileSync(fileOf('digest-client.mjs'), 'utf8')
  const module = `data:text/javascript,${encodeURIComponent(source)}`
  const programFor = (name: string) =>
    `import(${JSON.stringify(module)}).then(({ digestClient }) => {
      digestClient(WebSocket, ${JSON.stringify(url)}, ${JSON.stringify(name)})
      return ''
    })`
  const browser = await launchChromium()
  onTestFinished(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${port}`)
  await page.evaluate(programFor('chromium'))
  const firefox = await Firefox.launch()
  onTestFinished(() => firefox.close())
  await firefox.goto(`http://127.0.0.1:${port}`)
  await firefox.evaluate(programFor('firefox'))
}

function seeded(): (below: number) => number {
  let state = 7
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function textOf(random: (below: number) => number, number: number): string {
  switch (random(12)) {
    case 0:
      return `${number}` // too short for a window
    case 1:
      return `${number} ünïcödé 🦄 `.repeat(1 + random(300)) // some are longer than the window
    case 2:
      return Array.from({ length: random(200) }, () =>
        String.fromCodePoint(32 + (random(90_000) % 55_000)),
      ).join('')
    default:
      return JSON.stringify({ type: 'trade', symbol: `SYM-${random(5)}`, price: random(1e6) / 100, number })
  }
}

it(
  'A shared window is read by every kind of client, with joins, leaves and cuts on the way',
  async () => {
    const clients = new Clients()
    const served = await serve({ enableCompression: { window: 'shared' } }, clients.handler)
    const { hub } = served
    await startAll(served)
    await clients.said.until('all clients', () => KINDS.every((name) => clients.byName.has(name)))

    const random = seeded()
    const wrong: string[] = []
    let plainBytes = 0
    for (let number = 0; Math.min(...clients.received.values()) < MESSAGES || number % BATCH > 0; number++) {
      const text = textOf(random, number)
      const room = ROOMS[random(ROOMS.length)] ?? ''
      const name = KINDS[random(KINDS.length)] ?? ''
      const some = clients.byName.get(name)?.connection
      const way = random(20)
      if (way === 0 && some !== undefined) {
        clients.note(text, (connection) => connection === some)
        some.sendText(text)
      } else if (way < 8) {
        clients.note(text, () => true)
        plainBytes += hub.broadcast(text) * Buffer.byteLength(text)
      } else if (way < 10 && some !== undefined) {
        clients.note(text, (connection) => connection !== some && connection.inRoom(room))
        plainBytes += hub.broadcastToRoomExcept(room, text, some) * Buffer.byteLength(text)
      } else {
        clients.note(text, (connection) => connection.inRoom(room))
        plainBytes += hub.broadcastToRoom(room, text) * Buffer.byteLength(text)
      }
      if (some !== undefined && random(40) === 0) {
        if (random(4) === 0) hub.leaveRoom(some, room)
        else hub.joinRoom(some, room)
      }
      if (random(10) === 0) await turn()
      if ((number + 1) % BATCH !== 0) continue
      wrong.push(...(await clients.wrong()))
      // Each client in its turn is cut, and comes back.
      const cut = KINDS[((number + 1) / BATCH) % KINDS.length] ?? ''
      const { connection } = clients.byName.get(cut) ?? {}
      connection?.terminate()
      await clients.said.until(`${cut} to come back`, () => {
        const current = clients.byName.get(cut)?.connection
        return current !== undefined && current !== connection
      })
      if ((number + 1) % TOLD_EVERY === 0) {
        const counts = [...clients.received].map(([kind, count]) => `${kind} ${count}`).join(', ')
        console.log(`${number + 1} messages: ${counts}; ${wrong.length} wrong`)
      }
    }
    expect(wrong).toEqual([])
    expect(hub.stats().sentBytes).toBeLessThan(plainBytes * 0.8)
    for (const { connection } of clients.byName.values()) connection.close(4999)
  },
  TEST_MS + MESSAGES * MS_PER_MESSAGE, // of a machine with other work
)
