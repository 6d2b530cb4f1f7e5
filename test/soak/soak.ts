/**
 * A soak: for a while, clients connect, disconnect, join, leave, stall and are reset, while a server in
 * another process sends them messages. At the end, nothing may be left over, and every message must be
 * accounted for.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { Pipeliner } from './pipeliner.ts'
import type { Account, Snapshot } from './protocol.ts'
import { SoakServer } from './soak-server.ts'

export interface SoakOptions {
  readonly seconds: number
  /** The number of clients at the same time. */
  readonly clients: number
}

export interface SoakResult {
  /** The problems that were found; empty if there are none. */
  readonly problems: readonly string[]
  readonly figures: Readonly<Record<string, number>>
}

/** The allowed growth of the heap: if a connection leaves 1 KiB behind, it is found after a few thousand. */
const MAX_GROWTH_BYTES = 3 * 1_048_576

/**
 * The memory that the server may use for each open connection: with its request and session it would be 10 kB
 * more.
 */
const MAX_BYTES_PER_CONNECTION = 16_384

/** Requests that may be left: those of one tick, which may be on a stack. */
const MAX_REQUESTS = 20

/** Timers that are left after this time, in ms, belong to nobody. */
const TIMERS_MS = 60_000

/** Both sides together stay below 6,000 sockets. */
const MAX_CLIENTS = 2_500

const ROOMS = 50

type End = 'bye' | 'cut' | 'reset'

/** The observations of a client, to compare with the server's account. */
interface Seen {
  received: number
  code: number
}

/** Runs a soak. */
export async function soak({ seconds, clients }: SoakOptions): Promise<SoakResult> {
  if (clients > MAX_CLIENTS) throw new Error(`a soak has at most ${MAX_CLIENTS} clients at once`)
  const server = new SoakServer()
  try {
    const port = await server.port()
    const seen = new Map<string, Seen>()
    const figures = { connections: 0, stalls: 0, cuts: 0, refusals: 0, brokenHandshakes: 0, received: 0 }
    const run = async (until: number) => {
      const worker = async () => {
        while (Date.now() < until) await visit(port, seen, figures)
      }
      await Promise.all(Array.from({ length: clients }, worker))
      await server.emptied()
    }
    const start = Date.now()
    // A first round fills caches and compiles code; its end is the state that the soak must return to.
    await run(start + seconds * 250)
    const before = await server.snapshot()
    await run(start + seconds * 1_000)
    const { crowded, pipelined } = await crowd(server, port, clients, seen)
    await server.emptied()
    const after = await lasting(server, before)
    const bytesPerConnection = Math.round((crowded.heapBytes - after.heapBytes) / clients)
    const problems = [
      ...compareSnapshots(before, after),
      ...compareAccounts(server.accounts, seen, after),
      ...checkCrowd(crowded, clients, bytesPerConnection),
    ]
    for (const { received } of seen.values()) figures.received += received
    const { stats } = after
    return {
      problems,
      figures: {
        ...figures,
        upgrades: stats.acceptedUpgrades,
        lost: stats.lostConnections,
        sent: stats.sentMessages,
        heard: stats.receivedMessages,
        dropped: Object.values(stats.dropped).reduce((sum, { messages }) => sum + messages, 0),
        pipelined,
        requestsLeft: crowded.requests,
        bytesPerConnection,
        growthBytes: after.heapBytes - before.heapBytes,
      },
    }
  } finally {
    await server.stop()
  }
}

/**
 * Returns what is left in a server. Timers may run on for as long as they were set, after the last client
 * that needed them: half a minute for those of congested clients.
 */
async function lasting(server: SoakServer, before: Snapshot): Promise<Snapshot> {
  const end = Date.now() + TIMERS_MS
  for (;;) {
    const snapshot = await server.snapshot()
    if (snapshot.timers <= before.timers || Date.now() > end) return snapshot
    await pause(500)
  }
}

/**
 * Opens that many connections, beside one that always has a request in flight, and checks the server
 * meanwhile.
 */
async function crowd(
  server: SoakServer,
  port: number,
  clients: number,
  seen: Map<string, Seen>,
): Promise<{ crowded: Snapshot; pipelined: number }> {
  const pipeliner = new Pipeliner(port)
  const headers = { cookie: 'x'.repeat(4_000) }
  const sockets: WebSocket[] = []
  for (let i = 0; i < clients; i++) {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { headers })
    const account: Seen = { received: 0, code: 0 }
    ws.once('message', (id) => seen.set(String(id), account))
    ws.on('message', () => {
      account.received++
    })
    ws.on('error', () => {}) // 'close' follows
    sockets.push(ws)
    await once(ws, 'open')
  }
  const pipelined = await pipeliner.answers(5_000)
  const crowded = await server.snapshot()
  for (const ws of sockets) ws.terminate()
  pipeliner.leave()
  return { crowded, pipelined }
}

function checkCrowd({ requests, stats }: Snapshot, clients: number, bytesPerConnection: number): string[] {
  const problems: string[] = []
  if (stats.connections !== clients) problems.push(`${stats.connections} of ${clients} connections are open`)
  if (requests > MAX_REQUESTS) problems.push(`${requests} requests are left beside open connections`)
  if (bytesPerConnection > MAX_BYTES_PER_CONNECTION)
    problems.push(`a connection has ${bytesPerConnection} bytes`)
  return problems
}

function compareSnapshots(before: Snapshot, after: Snapshot): string[] {
  const problems: string[] = []
  const growth = after.heapBytes - before.heapBytes
  if (growth > MAX_GROWTH_BYTES) problems.push(`the heap has grown by ${growth} bytes`)
  // Fewer timers are no leak: some end only later than the client that they are for.
  if (after.timers > before.timers) problems.push(`timers were ${before.timers} and are ${after.timers}`)
  for (const key of ['resources', 'listeners'] as const) {
    const [was, is] = [JSON.stringify(before[key]), JSON.stringify(after[key])]
    if (was !== is) problems.push(`${key} were ${was} and are ${is}`)
  }
  const { connections, pendingUpgrades, bufferedBytes, acceptedUpgrades, closedConnections } = after.stats
  const left = { rooms: after.rooms, accounts: after.accounts, connections, pendingUpgrades, bufferedBytes }
  for (const [name, count] of Object.entries(left))
    if (count !== 0) problems.push(`${count} ${name} are left`)
  if (acceptedUpgrades !== closedConnections) {
    problems.push(`${acceptedUpgrades} upgrades were accepted and ${closedConnections} connections closed`)
  }
  return problems
}

/**
 * Each message was received, or dropped and counted; a client that was reset may have missed those on their
 * way.
 */
function compareAccounts(
  accounts: ReadonlyMap<string, Account>,
  seen: ReadonlyMap<string, Seen>,
  { stats }: Snapshot,
): string[] {
  const problems: string[] = []
  const sum = { attempts: 0, dropped: 0, heard: 0 }
  for (const { id, attempts, dropped, heard, code, reason, isGraceful } of accounts.values()) {
    sum.attempts += attempts
    sum.dropped += dropped
    sum.heard += heard
    const client = seen.get(id)
    const received = client?.received ?? 0
    if (client?.code === 4_000) {
      if (received !== attempts - dropped) {
        problems.push(`${id} received ${received} of ${attempts}, with ${dropped} dropped`)
      }
      if (!isGraceful || code !== 4_000)
        problems.push(`${id} ended with ${code} (${reason}), after ${heard} were heard`)
    } else if (received > attempts - dropped) {
      problems.push(`${id} received ${received} of ${attempts}, with ${dropped} dropped`)
    }
  }
  const dropped = Object.entries(stats.dropped)
  const total = dropped.reduce((all, [, { messages }]) => all + messages, 0)
  const refused = stats.dropped.dropNewest.messages
  if (sum.attempts !== stats.sentMessages + refused) {
    problems.push(`${sum.attempts} were attempted, ${stats.sentMessages} accepted and ${refused} refused`)
  }
  if (sum.dropped !== total) problems.push(`${sum.dropped} drops were told and ${total} counted`)
  if (sum.heard !== stats.receivedMessages) {
    problems.push(`${sum.heard} messages were heard and ${stats.receivedMessages} counted`)
  }
  if (accounts.size !== stats.closedConnections) problems.push(`${accounts.size} connections gave an account`)
  return problems.slice(0, 20)
}

/** One visit to the server: most visitors are clients, some only send a few bytes. */
async function visit(port: number, seen: Map<string, Seen>, figures: Record<string, number>): Promise<void> {
  const dice = Math.random()
  if (dice < 0.03) {
    count(figures, 'brokenHandshakes')
    await knock(port, 'GET / HTTP/1.1\r\nUpgrade: websock')
  } else if (dice < 0.06) {
    count(figures, 'refusals')
    await knock(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  } else {
    count(figures, 'connections')
    await new Visitor(port, seen, figures).gone
  }
}

function count(figures: Record<string, number>, name: string): void {
  figures[name] = (figures[name] ?? 0) + 1
}

/** Writes some bytes, and disconnects at once, or after the answer. */
async function knock(port: number, bytes: string): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}) // 'close' follows
  const gone = new Promise((resolve) => socket.once('close', resolve)) // `once` would fail with the error
  socket.write(bytes, () => {
    if (bytes.endsWith('\r\n\r\n')) socket.resume()
    else socket.resetAndDestroy()
  })
  await gone
}

/** A client with a random life. */
class Visitor {
  readonly gone: Promise<void>
  readonly #ws: WebSocket
  readonly #figures: Record<string, number>
  #tcp: Socket | undefined
  #id = ''
  #sent = 0
  readonly #seen: Seen = { received: 0, code: 0 }

  constructor(port: number, seen: Map<string, Seen>, figures: Record<string, number>) {
    this.#figures = figures
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: Math.random() < 0.3 })
    this.#ws = ws
    ws.on('upgrade', ({ socket }) => {
      this.#tcp = socket
    })
    ws.on('message', (data, isBinary) => {
      if (this.#id === '' && !isBinary) {
        this.#id = String(data)
        seen.set(this.#id, this.#seen)
      }
      this.#seen.received++
    })
    ws.on('error', () => {}) // 'close' follows
    ws.on('open', () => void this.#live())
    this.gone = new Promise((resolve) => {
      ws.on('close', (code) => {
        this.#seen.code = code
        resolve()
      })
    })
  }

  async #live(): Promise<void> {
    const dice = Math.random()
    const end: End = dice < 0.8 ? 'bye' : dice < 0.9 ? 'cut' : 'reset'
    for (let steps = Math.ceil(Math.random() * 8); steps > 0; steps--) {
      this.#act()
      await pause(Math.random() * 300)
    }
    this.#ws.resume()
    if (end === 'bye') this.#ws.send(`bye ${++this.#sent}`)
    else if (end === 'cut') this.#ws.terminate()
    else this.#tcp?.resetAndDestroy()
    if (end !== 'bye') count(this.#figures, 'cuts')
  }

  #act(): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return
    const room = `room-${Math.floor(Math.random() * ROOMS)}`
    const dice = Math.random()
    if (dice < 0.5) this.#say(`join ${room}`)
    else if (dice < 0.65) this.#say(`leave ${room}`)
    else if (dice < 0.97) this.#say(`say ${room} ${'x'.repeat(Math.random() * 300)}`)
    else {
      count(this.#figures, 'stalls')
      this.#ws.pause()
      this.#say('flood')
    }
  }

  #say(text: string): void {
    this.#sent++
    this.#ws.send(text)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
