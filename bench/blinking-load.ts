// The load process of the scenario `resume`: clients whose connections are cut again and again. It
// answers the calls of resume.ts over IPC. Unlike load.ts it counts what is missing: some contestants do lose
// messages.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Blinker, PositionBlinker, SocketIoBlinker } from './blinker.ts'
import { type Deliveries, DeliveryRecord } from './delivery-record.ts'
import type { Dialect } from './raw-client.ts'
import { answerCalls } from './servers/answer-calls.mjs'
import { readHeader, seededRandom } from './servers/payload.mjs'

export interface BlinkOptions {
  ports: readonly number[]
  dialect: Dialect
  clients: number
  /** Each client is cut once in every interval of so many ms, at random. */
  everyMs: number
  awayMs: number
}

/** The fate of all messages to all clients. */
export interface BlinkResult extends Deliveries {
  cuts: number
  /** How often a client was told that it has missed something. */
  incomplete: number
}

/** The time after which a client tries again whose connection was lost or refused. */
const RETRY_MS = 200
/** The time without a message after which no more are expected. */
const QUIET_MS = 6_000

const random = seededRandom(12)
const members: Member[] = []
let options: BlinkOptions
let cutting: NodeJS.Timeout[] = []
let cuts = 0
let incomplete = 0
let lastMessageAt = 0

/** A client, and what it has received. */
class Member {
  readonly record = new DeliveryRecord()
  readonly #index: number
  readonly #blinker: Blinker
  isOpen = false
  #retryMs = RETRY_MS
  #opened = 0

  constructor(index: number) {
    this.#index = index
    this.#blinker = new (options.dialect === 'plain' ? PositionBlinker : SocketIoBlinker)({
      onOpen: () => {
        this.isOpen = true
        this.#retryMs = RETRY_MS
      },
      onText: (text) => {
        lastMessageAt = performance.now()
        this.record.add(readHeader(text).number)
      },
      onIncomplete: (since) => {
        incomplete++
        if (since === 'now') this.record.leave()
        this.record.incomplete()
      },
      onClose: () => {
        if (this.isOpen) this.record.leave()
        this.isOpen = false
        setTimeout(() => this.open(), this.#retryMs)
        this.#retryMs = RETRY_MS
      },
    })
  }

  /** Connects to the next node: a client that comes back is rarely sent to the one that it was on. */
  open(): void {
    const { ports } = options
    this.#blinker.open(ports[(this.#index + this.#opened) % ports.length] ?? 0)
    this.#opened++
  }

  cut(): void {
    if (!this.isOpen) return
    cuts++
    this.#retryMs = options.awayMs
    this.#blinker.cut()
  }
}

const calls = {
  /** Resolves when all clients are connected. */
  async connect(given: BlinkOptions): Promise<void> {
    options = given
    for (let index = 0; index < given.clients; index++) {
      const member = new Member(index)
      members.push(member)
      member.open()
      if (index % 20 === 19) await sleep(10)
    }
    while (!members.every(({ isOpen }) => isOpen)) await sleep(20)
  },

  /** Cuts each client once in every interval, at random, until `finish`. */
  blink(): void {
    const { everyMs, awayMs } = options
    for (const member of members) {
      const period = () => {
        const cut = setTimeout(() => member.cut(), random() * (everyMs - awayMs))
        cutting.push(cut)
      }
      period()
      cutting.push(setInterval(period, everyMs))
    }
  },

  /** Resolves with the counts, when all clients are back and have the last message, or nothing more comes. */
  async finish({ total, refused }: { total: number; refused: readonly number[] }): Promise<BlinkResult> {
    for (const timer of cutting) clearTimeout(timer)
    cutting = []
    const isRefused = new Set(refused)
    let last = total - 1
    while (isRefused.has(last)) last--
    lastMessageAt = performance.now()
    const isDone = () => members.every(({ isOpen, record }) => isOpen && record.last >= last)
    while (!isDone() && performance.now() - lastMessageAt < QUIET_MS) await sleep(50)
    const sum: BlinkResult = { received: 0, twice: 0, outOfOrder: 0, reported: 0, lost: 0, cuts, incomplete }
    for (const { record } of members) {
      const counts = record.count(total, isRefused)
      sum.received += counts.received
      sum.twice += counts.twice
      sum.outOfOrder += counts.outOfOrder
      sum.reported += counts.reported
      sum.lost += counts.lost
    }
    return sum
  },
}

answerCalls(calls)
