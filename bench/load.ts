// The load process: opens the clients, sends their messages, and checks what they receive. It answers the
// calls of index.ts over IPC. A message lost, duplicated, truncated or out of order fails the current call.

import { Ledger } from './ledger.ts'
import { type Dialect, RawClient } from './raw-client.ts'
import { nodesOfRoom, type RoomSpread } from './room-spread.ts'
import { answerCalls } from './servers/answer-calls.mjs'
import { type FeedName, feedText } from './servers/feeds.mjs'
import { makePayload, nowMicros, readHeader, seededRandom } from './servers/payload.mjs'

export interface ConnectOptions {
  /** The ports of the nodes; the clients use them in turn. */
  ports: readonly number[]
  dialect: Dialect
  /** If true, every message must arrive compressed; otherwise none may. */
  compression: boolean
  clients: number
  /** The number of rooms, and the number of rooms of each member. */
  rooms: number
  roomsPerMember: number
  /**
   * The fewest and the most nodes on which the rooms have members. By default all rooms have members on all
   * nodes.
   */
  spread?: RoomSpread | undefined
  /** The number of processes that publish, each with its own numbering. Default 1. */
  publishers?: number | undefined
  /** The number of clients, from the first, that are members of rooms; the others are in no room. */
  members: number
  payloadBytes: number
  /** The feed of all messages, which may be compressed or not. Only for one room. */
  feed?: FeedName | undefined
}

export interface Received {
  deliveries: number
  /** Bytes of the frames of a feed. */
  bytes: number
  p50Ms: number
  p99Ms: number
}

/** Latency is measured on every n-th client; n is prime, so that clients of all nodes are among them. */
const LATENCY_STRIDE = 17
/**
 * Of a feed, each n-th client inflates and checks every message; the others count frames and their bytes,
 * since inflating takes longer than all else.
 */
const CHECK_STRIDE = 100
/** The number of handshakes that run at the same time. */
const CONNECT_BATCH = 64

let connection: ConnectOptions
const clients: RawClient[] = []
/**
 * The sources of each member (a room, or a room of a publisher), and how many messages it received from each.
 */
const placesOf: Map<number, number>[] = []
const ledgers: Ledger[] = []
/** The texts that each client expects to get back. */
const echoes: string[][] = []
const stalled = new Set<RawClient>()
/** How many clients have each message of a feed that not all have. */
const feedCounts = new Map<number, number>()

let mode: 'broadcast' | 'chat' | 'echo' = 'broadcast'
let deliveries = 0
let bytesOfFeed = 0
let latenciesMs: number[] = []
let pings = 0
let failure: Error | undefined
let failRound: ((error: Error) => void) | undefined
let onMessageComplete = () => {}
let onClientReady = (_client: RawClient) => {}

const listener = {
  onMessage(client: RawClient, bytes: Buffer, start: number, end: number, compressed: boolean): void {
    try {
      if (connection.feed !== undefined) {
        receiveFeed(client, connection.feed, bytes, start, end, compressed)
        return
      }
      if (compressed !== connection.compression)
        throw new Error(`a message came ${compressed ? '' : 'un'}compressed`)
      if (mode === 'echo') receiveEcho(client, bytes, start, end)
      else receiveBroadcast(client, bytes, start, end)
    } catch (error) {
      fail(new Error(`client ${client.index}: ${error instanceof Error ? error.message : error}`))
    }
  },
  onPing() {
    pings++
  },
  onFailure(client: RawClient, reason: string): void {
    if (!stalled.has(client)) fail(new Error(`client ${client.index}: ${reason}`))
  },
}

const calls = {
  /** Opens more clients, until there are `options.clients`. */
  async connect(options: ConnectOptions): Promise<void> {
    connection = options
    const roomsOfNodes = options.ports.map((_, node) => roomsOfNode(node))
    const memberCounts = new Array<number>(options.rooms).fill(0)
    const sources = options.rooms * (options.publishers ?? 1)
    for (let index = clients.length; index < options.clients; ) {
      const batch: Promise<void>[] = []
      for (; batch.length < CONNECT_BATCH && index < options.clients; index++) {
        const rooms =
          index < options.members ? roomsOfMember(index, roomsOfNodes[index % options.ports.length]) : []
        for (const room of rooms) memberCounts[room] = (memberCounts[room] ?? 0) + 1
        const places = new Map<number, number>()
        for (const room of rooms) {
          for (let source = room; source < sources; source += options.rooms) places.set(source, 0)
        }
        placesOf[index] = places
        const path = options.dialect === 'socket.io' ? '/socket.io/?EIO=4&transport=websocket&' : '/?'
        const query = rooms.length > 0 ? `rooms=${rooms.join()}` : ''
        const port = options.ports[index % options.ports.length] ?? 0
        const client = new RawClient(index, { ...options, port, path: path + query }, listener)
        clients.push(client)
        batch.push(client.opened)
      }
      await Promise.race([Promise.all(batch), whenFailed()])
    }
    const [first] = clients
    if (!first) throw new Error('there is no client')
    for (let source = 0; source < sources; source++) {
      const members = memberCounts[source % options.rooms] ?? 0
      ledgers[source] = new Ledger(members, first.decode, (text, place) => isGenuine(text, place, source))
    }
  },

  /** Resolves when the calls before have begun: what is sent then, they do not miss. */
  begun(): void {},

  /** Resolves when all members of the rooms have received `messages` more messages. */
  receive({ messages, acknowledgeEvery }: { messages: number; acknowledgeEvery: number }): Promise<Received> {
    mode = 'broadcast'
    return round((finish) => {
      let completed = 0
      onMessageComplete = () => {
        completed++
        if (completed % acknowledgeEvery === 0) process.send?.({ acknowledged: acknowledgeEvery })
        if (completed === messages) finish()
      }
    })
  },

  /**
   * Each client sends a message when it has received all of the last turn, `turns` times. All receive all.
   */
  chat({ turns }: { turns: number }): Promise<Received> {
    mode = 'chat'
    const lastTurn = (placesOf[0]?.get(0) ?? 0) / clients.length + turns
    return round((finish) => {
      let completed = 0
      onMessageComplete = () => {
        completed++
        if (completed === turns * clients.length) finish()
      }
      onClientReady = (client) => {
        const turn = (placesOf[client.index]?.get(0) ?? 0) / clients.length
        if (turn < lastTurn) client.send(makePayload(client.index, turn, connection.payloadBytes))
      }
      for (const client of clients) onClientReady(client)
    })
  },

  /** Each client sends `count` messages, the next one when one of the last `inFlight` is back. */
  echo({ count, inFlight }: { count: number; inFlight: number }): Promise<Received> {
    mode = 'echo'
    return round((finish) => {
      const sent = new Array<number>(clients.length).fill(0)
      let missing = count * clients.length
      const sendNext = (client: RawClient) => {
        const number = sent[client.index] ?? 0
        if (number === count) return
        sent[client.index] = number + 1
        const text = makePayload(client.index % 10_000, number, connection.payloadBytes)
        echoes[client.index]?.push(text)
        client.send(text)
      }
      onClientReady = (client) => {
        missing--
        if (missing === 0) finish()
        else sendNext(client)
      }
      for (const client of clients) {
        echoes[client.index] = []
        for (let i = 0; i < inFlight; i++) sendNext(client)
      }
    })
  },

  /** Stops the first client from reading; nobody waits for it from now on. */
  stallOne(): void {
    const client = clients[0]
    if (!client) throw new Error('there is no client')
    client.stall()
    stalled.add(client)
    for (const ledger of ledgers) ledger.members--
  },

  /** The number of pings that the clients have received. */
  countPings(): number {
    return pings
  },

  /** Ends all clients. */
  close(): void {
    for (const client of clients) client.destroy()
  },
}

/** @param open the rooms that have members on its node */
function roomsOfMember(index: number, open: number[] = []): number[] {
  if (open.length <= connection.roomsPerMember) return open
  const random = seededRandom(index + 1)
  const rooms = new Set<number>()
  while (rooms.size < connection.roomsPerMember) rooms.add(open[Math.floor(random() * open.length)] ?? 0)
  return [...rooms]
}

function roomsOfNode(node: number): number[] {
  const { ports, rooms, spread = { least: ports.length, most: ports.length } } = connection
  const all = Array.from({ length: rooms }, (_, room) => room)
  return all.filter((room) => nodesOfRoom(room, ports.length, spread).includes(node))
}

function receiveBroadcast(client: RawClient, bytes: Buffer, start: number, end: number): void {
  const places = placesOf[client.index]
  const source = ledgers.length === 1 ? 0 : +bytes.toString('latin1', start + 8, start + 12)
  const place = places?.get(source)
  const ledger = ledgers[source]
  if (!places || place === undefined || !ledger)
    throw new Error(`a message of source ${source} went to a stranger`)
  const sentMicros = ledger.record(place, bytes, start, end)
  places.set(source, place + 1)
  deliveries++
  if (client.index % LATENCY_STRIDE === 0) latenciesMs.push((nowMicros() - Math.abs(sentMicros)) / 1000)
  if (mode === 'chat' && (place + 1) % clients.length === 0) onClientReady(client)
  if (sentMicros < 0) onMessageComplete()
}

function receiveFeed(
  client: RawClient,
  feed: FeedName,
  bytes: Buffer,
  start: number,
  end: number,
  isCompressed: boolean,
): void {
  const place = placesOf[client.index]?.get(0)
  if (place === undefined) throw new Error('a message of a feed went to a stranger')
  placesOf[client.index]?.set(0, place + 1)
  if (client.index % CHECK_STRIDE === 0) {
    const payload = bytes.subarray(start, end)
    const text = isCompressed ? client.decode(Buffer.from(payload)) : payload.toString('latin1')
    if (text !== feedText(feed, place)) throw new Error(`message ${place} is not the one sent: ${text}`)
  }
  deliveries++
  bytesOfFeed += end - start + (end - start < 126 ? 2 : 4)
  const received = (feedCounts.get(place) ?? 0) + 1
  if (received < clients.length) feedCounts.set(place, received)
  else {
    feedCounts.delete(place)
    onMessageComplete()
  }
}

function receiveEcho(client: RawClient, bytes: Buffer, start: number, end: number): void {
  const text = client.decode(bytes.subarray(start, end))
  if (text !== echoes[client.index]?.shift())
    throw new Error(`the echo is not what was sent: ${text.slice(0, 60)}`)
  deliveries++
  if (client.index % LATENCY_STRIDE === 0)
    latenciesMs.push((nowMicros() - readHeader(text).sentMicros) / 1000)
  onClientReady(client)
}

/**
 * Returns whether a text is the one sent as number `place` of the source; in a chat, by any client in its
 * turn.
 */
function isGenuine(text: string, place: number, expected: number): boolean {
  const { number, source, sentMicros } = readHeader(text)
  const inPlace =
    mode === 'chat' ? number === Math.floor(place / clients.length) : number === place && source === expected
  return inPlace && text === makePayload(source, number, connection.payloadBytes, sentMicros)
}

function round(begin: (finish: () => void) => void): Promise<Received> {
  deliveries = 0
  bytesOfFeed = 0
  latenciesMs = []
  const finished = new Promise<Received>((resolve) => {
    begin(() => {
      const sorted = latenciesMs.sort((a, b) => a - b)
      resolve({ deliveries, bytes: bytesOfFeed, p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) })
    })
  })
  return Promise.race([finished, whenFailed()])
}

function whenFailed(): Promise<never> {
  return new Promise((_, reject) => {
    if (failure) reject(failure)
    failRound = reject
  })
}

function fail(error: Error): void {
  failure ??= error
  failRound?.(failure)
}

function quantile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

answerCalls(calls, () => {
  if (failure) throw failure
})
