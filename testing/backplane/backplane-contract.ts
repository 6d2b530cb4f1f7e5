import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backplane, BackplaneState } from 'wshub'
import { checkKeys } from '../known-keys.ts'

/** An engine that is up, and how to reach it. */
export interface BackplaneSetup {
  /** Makes a backplane that was not started. All of one setup meet on the same engine. */
  create(): Backplane
  /** Makes the engine unreachable for all of them. Without it, what happens meanwhile is not tested. */
  cut?: () => void | Promise<void>
  /** Undoes `cut`; also called where there is nothing to undo. */
  restore?: () => void | Promise<void>
  /**
   * Time, in ms, that each step may take; 1 or more. Default 5 000, which is what a hub's users are promised
   * after an outage.
   */
  timeoutMs?: number
}

const SETUP: Record<keyof BackplaneSetup, undefined> = {
  create: undefined,
  cut: undefined,
  restore: undefined,
  timeoutMs: undefined,
}

/** One thing that a backplane has to do. */
export interface BackplaneContractCase {
  readonly name: string
  /** Rejects when the backplane does not do it. Not to be run beside another case of the same setup. */
  run(): Promise<void>
}

/**
 * The contract that a hub relies on, case by case, for any test runner:
 * `for (const { name, run } of backplaneContract(setup)) it(name, run)`.
 * @throws {TypeError} for an unknown part of the setup, and without `create`
 */
export function backplaneContract(setup: BackplaneSetup): BackplaneContractCase[] {
  checkKeys(setup, SETUP, 'the parts of a setup')
  if (typeof setup.create !== 'function') throw new TypeError('create is a function that makes a backplane')
  const { cut, restore } = setup
  const cases: Record<string, Case> = { ...CASES }
  if (cut !== undefined && restore !== undefined) {
    for (const [name, body] of Object.entries(OUTAGE_CASES)) {
      cases[name] = async (bench) => {
        try {
          await body(bench, { cut: async () => cut(), restore: async () => restore() })
        } finally {
          await restore()
        }
      }
    }
  }
  return Object.entries(cases).map(([name, body]) => ({
    name,
    async run() {
      const bench = new Bench(setup)
      try {
        await body(bench)
      } finally {
        await bench.close()
      }
    },
  }))
}

type Case = (bench: Bench) => Promise<void>
interface Outage {
  cut(): Promise<void>
  restore(): Promise<void>
}

interface Received {
  readonly channel: string
  readonly bytes: Buffer
}

/** A backplane and all that it told. */
class Station {
  readonly backplane: Backplane
  readonly received: Received[] = []
  readonly states: BackplaneState[] = []
  readonly errors: Error[] = []
  readonly #timeoutMs: number

  constructor(backplane: Backplane, timeoutMs: number) {
    this.backplane = backplane
    this.#timeoutMs = timeoutMs
  }

  begin(): Promise<void> {
    return this.backplane.start({
      onMessage: (channel, bytes) => {
        this.received.push({ channel, bytes })
      },
      onStateChange: (state) => {
        this.states.push(state)
      },
      onError: (error) => {
        this.errors.push(error)
      },
    })
  }

  start(): Promise<void> {
    return this.inTime('start() to resolve', this.begin())
  }

  subscribe(...channels: readonly string[]): Promise<unknown> {
    const all = Promise.all(channels.map((channel) => this.backplane.subscribe(channel)))
    return this.inTime('subscribe() to resolve', all)
  }

  /** Publishes what has to be accepted; waits where too much is waiting. */
  async publish(channel: string, data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    await this.until('publish() to accept', () => this.backplane.publish(channel, bytes))
  }

  texts(channel: string): string[] {
    return this.received.filter((message) => message.channel === channel).map(({ bytes }) => bytes.toString())
  }

  /** Resolves when a text has come on a channel. */
  heard(channel: string, text: string): Promise<void> {
    return this.until(`"${text}" on ${channel}`, () => {
      return this.received.some((message) => message.channel === channel && message.bytes.toString() === text)
    })
  }

  became(state: BackplaneState): Promise<void> {
    return this.until(`the state "${state}"`, () => this.backplane.state === state)
  }

  /** Resolves when the condition holds, which is asked again and again. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + this.#timeoutMs
    while (!holds()) {
      if (performance.now() > end) this.#tooLate(what)
      await sleep(1)
    }
  }

  async inTime<T>(what: string, promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        try {
          this.#tooLate(what)
        } catch (error) {
          reject(error)
        }
      }, this.#timeoutMs)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #tooLate(what: string): never {
    const { state } = this.backplane
    const last = this.received
      .slice(-5)
      .map(({ channel, bytes }) => `${channel}: ${bytes.toString('latin1', 0, 40)}`)
    const seen = {
      state,
      states: this.states,
      errors: this.errors.map(String),
      count: this.received.length,
      last,
    }
    throw new Error(`Waited ${this.#timeoutMs} ms for ${what}, saw: ${JSON.stringify(seen, null, 2)}`)
  }
}

/** The parts of one case. */
class Bench {
  readonly #setup: BackplaneSetup
  readonly #stations: Station[] = []

  constructor(setup: BackplaneSetup) {
    this.#setup = setup
  }

  /** A channel that no other case uses, within the 200 characters. */
  channel(name = 'channel'): string {
    return `${randomUUID()}.${name}`
  }

  station(): Station {
    const station = new Station(this.#setup.create(), this.#setup.timeoutMs ?? 5_000)
    this.#stations.push(station)
    return station
  }

  async started(): Promise<Station> {
    const station = this.station()
    await station.start()
    return station
  }

  async pair(): Promise<[Station, Station]> {
    return [await this.started(), await this.started()]
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#stations.map((station) => station.inTime('close() to resolve', station.backplane.close())),
    )
  }
}

const CASES: Readonly<Record<string, Case>> = {
  async 'is connecting, then connected, then closed'(bench) {
    const station = bench.station()
    assert.equal(station.backplane.state, 'connecting')
    await station.start()
    assert.equal(station.backplane.state, 'connected')
    await station.inTime('close() to resolve', station.backplane.close())
    assert.equal(station.backplane.state, 'closed')
    assert.deepEqual(station.states, ['connected', 'closed'])
    await station.inTime('a second close() to resolve', station.backplane.close())
  },

  async 'accepts nothing before it is started and after it is closed'(bench) {
    const listener = await bench.started()
    const channel = bench.channel()
    await listener.subscribe(channel)
    const station = bench.station()
    assert.equal(station.backplane.publish(channel, Buffer.from('before')), false)
    await station.start()
    await station.publish(channel, 'marker')
    await listener.heard(channel, 'marker')
    await station.backplane.close()
    assert.equal(station.backplane.publish(channel, Buffer.from('after')), false)
    await listener.publish(channel, 'end')
    await listener.heard(channel, 'end')
    assert.deepEqual(listener.texts(channel), ['marker', 'end'])
  },

  async 'subscribes what was asked for before it is started'(bench) {
    const station = bench.station()
    const channel = bench.channel()
    const confirmed = station.backplane.subscribe(channel)
    await station.start()
    await station.inTime('subscribe() to resolve', confirmed)
    await station.publish(channel, 'here')
    await station.heard(channel, 'here')
  },

  async 'rejects a subscription that is asked for when it is closed'(bench) {
    const station = await bench.started()
    await station.backplane.close()
    await assert.rejects(
      station.inTime('subscribe() to settle', station.backplane.subscribe(bench.channel())),
    )
  },

  async 'brings a message to each subscriber once, the publisher among them'(bench) {
    const [one, two] = await bench.pair()
    const three = await bench.started()
    const channel = bench.channel()
    for (const station of [one, two, three]) await station.subscribe(channel)
    await one.publish(channel, 'from one')
    await two.publish(channel, 'from two')
    for (const station of [one, two, three]) {
      await station.heard(channel, 'from one')
      await station.heard(channel, 'from two')
    }
    await three.publish(channel, 'marker')
    for (const station of [one, two, three]) {
      await station.heard(channel, 'marker')
      assert.deepEqual(station.texts(channel).sort(), ['from one', 'from two', 'marker'])
    }
  },

  async 'brings no message of another channel'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const [wanted, other] = [bench.channel(), bench.channel()]
    await publisher.subscribe(other)
    await subscriber.subscribe(wanted)
    await publisher.publish(other, 'for others')
    await publisher.heard(other, 'for others')
    await publisher.publish(wanted, 'marker')
    await subscriber.heard(wanted, 'marker')
    assert.deepEqual(
      subscriber.received.map(({ channel }) => channel),
      [wanted],
    )
  },

  async 'keeps the order of each publisher'(bench) {
    const count = 2_000
    const publishers = await bench.pair()
    const [subscriber] = await bench.pair()
    const channel = bench.channel()
    await subscriber.subscribe(channel)
    await Promise.all(
      publishers.map(async (publisher, name) => {
        for (let index = 0; index < count; index++) {
          await publisher.publish(channel, `${name} ${index}`)
          if (index % 100 === 0) await turn()
        }
      }),
    )
    for (const name of publishers.keys()) await subscriber.heard(channel, `${name} ${count - 1}`)
    for (const name of publishers.keys()) {
      const texts = subscriber.texts(channel).filter((text) => text.startsWith(`${name} `))
      assert.deepEqual(
        texts,
        Array.from({ length: count }, (_, index) => `${name} ${index}`),
      )
    }
  },

  async 'carries bytes of every kind: none, each value, a million'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    await subscriber.subscribe(channel)
    const every = Uint8Array.from({ length: 256 }, (_, value) => value)
    const within = new Uint8Array(randomBytes(64).buffer, 8, 16)
    const sent = [
      new Uint8Array(),
      every,
      within,
      Buffer.from('\r\n$-1\r\nPONG\r\n\0'),
      randomBytes(1_000_000),
    ]
    for (const bytes of sent) await publisher.publish(channel, bytes)
    await subscriber.until('all messages', () => subscriber.received.length === sent.length)
    for (const [index, bytes] of sent.entries()) {
      const received = subscriber.received[index]?.bytes
      assert.ok(Buffer.isBuffer(received))
      assert.ok(received.equals(bytes), `message ${index} of ${bytes.length} bytes has come as it was sent`)
    }
  },

  async 'leaves the bytes to their receiver'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    for (const station of [publisher, subscriber]) await station.subscribe(channel)
    const sent = Array.from({ length: 50 }, (_, index) => randomBytes(index * 40))
    for (const bytes of sent) {
      await publisher.publish(channel, bytes)
      await turn()
    }
    for (const station of [publisher, subscriber]) {
      await station.until('all messages', () => station.received.length === sent.length)
    }
    for (const { bytes } of publisher.received) bytes.fill(0)
    for (const [index, bytes] of sent.entries()) assert.ok(subscriber.received[index]?.bytes.equals(bytes))
  },

  async 'delivers what is published as soon as a subscription is confirmed'(bench) {
    const [publisher, subscriber] = await bench.pair()
    for (let round = 0; round < 100; round++) {
      const channel = bench.channel()
      await subscriber.subscribe(channel)
      await publisher.publish(channel, 'first')
      await subscriber.heard(channel, 'first')
    }
  },

  async 'tells a thousand channels apart'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channels = Array.from({ length: 1_000 }, (_, index) => bench.channel(String(index)))
    await subscriber.subscribe(...channels)
    for (const channel of channels) await publisher.publish(channel, channel)
    await subscriber.until('a message on each', () => subscriber.received.length === channels.length)
    for (const { channel, bytes } of subscriber.received) assert.equal(bytes.toString(), channel)
    assert.equal(new Set(subscriber.received.map(({ channel }) => channel)).size, channels.length)
  },

  async 'takes every name a hub may give: up to 200 characters, dots anywhere'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const unique = randomUUID()
    const ends = ['', '.', '..', '._', '-', '_', '.a', '.A', '.a.', '.a.b', '.a..b', '.ab', '0', '.z']
    const names = [
      ...ends.map((end) => unique + end),
      ...['.', '..', '-', '_'].map((start) => start + unique),
    ]
    names.push(unique.padEnd(200, 'ABCxyz019_-.'), unique.padEnd(199, 'ABCxyz019_-.'))
    for (const name of names) assert.match(name, /^[A-Za-z0-9_.-]{1,200}$/)
    await subscriber.subscribe(...names)
    for (const name of names) await publisher.publish(name, name)
    await subscriber.until('a message on each', () => subscriber.received.length === names.length)
    for (const { channel, bytes } of subscriber.received) assert.equal(channel, bytes.toString())
  },

  async 'subscribes once, however often it is asked'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    await subscriber.subscribe(channel, channel)
    await subscriber.subscribe(channel)
    await publisher.publish(channel, 'once')
    await publisher.publish(channel, 'marker')
    await subscriber.heard(channel, 'marker')
    assert.deepEqual(subscriber.texts(channel), ['once', 'marker'])
    subscriber.backplane.unsubscribe(channel)
    await ends(publisher, subscriber, channel, bench.channel())
  },

  async 'ends the messages of a channel, and of no other'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const [left, kept] = [bench.channel(), bench.channel()]
    await subscriber.subscribe(left, kept)
    await publisher.subscribe(left)
    subscriber.backplane.unsubscribe(left)
    await ends(publisher, subscriber, left, kept)
    await publisher.heard(left, 'last')
    subscriber.backplane.unsubscribe(bench.channel('never subscribed'))
  },

  async 'follows the last word where a channel is subscribed and left in a hurry'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const { backplane } = subscriber
    const [on, off, kept] = [bench.channel('on'), bench.channel('off'), bench.channel('kept')]
    await subscriber.subscribe(kept)
    const settled: Promise<unknown>[] = []
    for (let round = 0; round < 60; round++) {
      settled.push(backplane.subscribe(on), backplane.subscribe(off))
      if (round % 3 > 0) await turn()
      backplane.unsubscribe(on)
      if (round % 5 > 2) await turn()
      settled.push(backplane.subscribe(on))
      backplane.unsubscribe(off)
      if (round % 7 > 4) await turn()
    }
    await subscriber.inTime('every subscribe() to settle', Promise.allSettled(settled))
    await subscriber.subscribe(on)
    await publisher.publish(on, 'here')
    await subscriber.heard(on, 'here')
    await ends(publisher, subscriber, off, kept)
    await publisher.publish(on, 'marker')
    await subscriber.heard(on, 'marker')
    assert.deepEqual(subscriber.texts(on), ['here', 'marker'])
  },

  async 'loses nothing of a channel that is left and subscribed again'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    for (let round = 0; round < 50; round++) {
      await subscriber.subscribe(channel)
      subscriber.backplane.unsubscribe(channel)
      if (round % 2 === 0) await turn()
      await subscriber.subscribe(channel)
      await publisher.publish(channel, `round ${round}`)
      await subscriber.heard(channel, `round ${round}`)
      if (round % 3 === 0) subscriber.backplane.unsubscribe(channel)
    }
    assert.equal(subscriber.received.length, 50)
  },

  async 'sends what was published before it is closed'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    await subscriber.subscribe(channel)
    for (let index = 0; index < 100; index++) publisher.backplane.publish(channel, Buffer.from(`${index}`))
    await publisher.backplane.close()
    await subscriber.heard(channel, '99')
    assert.equal(subscriber.received.length, 100)
  },

  async 'brings nothing after it is closed'(bench) {
    const [publisher, subscriber] = await bench.pair()
    const channel = bench.channel()
    for (const station of [publisher, subscriber]) await station.subscribe(channel)
    const closed = subscriber.backplane.close()
    await publisher.publish(channel, 'too late')
    await publisher.heard(channel, 'too late')
    await closed
    await turn()
    assert.deepEqual(subscriber.texts(channel), [])
  },

  async 'lets go of connections and timers when it is closed'(bench) {
    const before = process.getActiveResourcesInfo().length
    const stations = await bench.pair()
    for (const station of stations) await station.subscribe(bench.channel())
    await Promise.all(stations.map(({ backplane }) => backplane.close()))
    const [station] = stations
    const left = () => process.getActiveResourcesInfo()
    await station.until(`${before} active resources`, () => left().length <= before)
  },
}

const OUTAGE_CASES: Readonly<Record<string, (bench: Bench, outage: Outage) => Promise<void>>> = {
  async 'is reconnecting while the engine is away, and has every subscription when it is back'(
    bench,
    outage,
  ) {
    const [publisher, subscriber] = await bench.pair()
    const channels = Array.from({ length: 300 }, (_, index) => bench.channel(String(index)))
    await subscriber.subscribe(...channels)
    for (let round = 0; round < 2; round++) {
      await outage.cut()
      await publisher.became('reconnecting')
      await subscriber.became('reconnecting')
      assert.equal(publisher.backplane.publish(channels[0] ?? '', Buffer.from('nobody hears this')), false)
      await outage.restore()
      await publisher.became('connected')
      await subscriber.became('connected')
      subscriber.received.length = 0
      for (const channel of channels) await publisher.publish(channel, channel)
      await subscriber.until('a message on each', () => subscriber.received.length >= channels.length)
      const heard = subscriber.received.map(({ bytes }) => bytes.toString())
      assert.deepEqual(heard.sort(), [...channels].sort())
    }
    for (const { states } of [publisher, subscriber]) {
      const again: BackplaneState[] = ['reconnecting', 'connected']
      assert.deepEqual(states, ['connected', ...again, ...again])
    }
  },

  async 'subscribes on its return what was asked for meanwhile, and nothing that was left'(bench, outage) {
    const [publisher, subscriber] = await bench.pair()
    const [asked, left, both] = [bench.channel('asked'), bench.channel('left'), bench.channel('both')]
    await subscriber.subscribe(left)
    await outage.cut()
    await subscriber.became('reconnecting')
    let isConfirmed = false
    const confirmed = subscriber.backplane.subscribe(asked).then(() => {
      isConfirmed = true
    })
    const settled = subscriber.backplane.subscribe(both).catch(() => {})
    subscriber.backplane.unsubscribe(left)
    subscriber.backplane.unsubscribe(both)
    await turn()
    assert.equal(isConfirmed, false)
    await outage.restore()
    await subscriber.inTime('subscribe() to resolve', confirmed)
    await publisher.became('connected')
    await subscriber.inTime('subscribe() of a channel that was left to settle', settled)
    await publisher.publish(asked, 'here')
    await subscriber.heard(asked, 'here')
    await ends(publisher, subscriber, left, asked)
    await ends(publisher, subscriber, both, asked)
  },

  async 'waits for an engine that is away when it is started'(bench, outage) {
    await outage.cut()
    const station = bench.station()
    let isStarted = false
    const started = station.begin().then(() => {
      isStarted = true
    })
    const channel = bench.channel()
    const confirmed = station.backplane.subscribe(channel)
    await turn()
    assert.equal(isStarted, false)
    assert.equal(station.backplane.state, 'connecting')
    await outage.restore()
    await station.inTime('start() to resolve', started)
    await station.inTime('subscribe() to resolve', confirmed)
    assert.deepEqual(station.states, ['connected'])
    await station.publish(channel, 'here')
    await station.heard(channel, 'here')
  },

  async 'can be closed while the engine is away'(bench, outage) {
    const connected = await bench.started()
    await outage.cut()
    await connected.became('reconnecting')
    const station = bench.station()
    const started = assert.rejects(station.begin())
    const settled = Promise.allSettled(
      [connected, station].map(({ backplane }) => backplane.subscribe(bench.channel())),
    )
    for (const { inTime, backplane } of [connected, station]) {
      await inTime.call(station, 'close() to resolve', backplane.close())
      assert.equal(backplane.state, 'closed')
    }
    await station.inTime('start() to reject', started)
    await station.inTime('subscribe() to settle', settled)
  },
}

/**
 * Shows that messages of a channel end. A round that brings none, while its marker comes, is followed by
 * three more: by then the message of that round would have come.
 */
async function ends(publisher: Station, subscriber: Station, channel: string, marker: string): Promise<void> {
  const round = randomUUID()
  await subscriber.subscribe(marker)
  const pass = async (name: string) => {
    await publisher.publish(channel, name)
    await publisher.publish(marker, `${round} ${name}`)
    await subscriber.heard(marker, `${round} ${name}`)
  }
  for (let attempt = 0; ; attempt++) {
    await pass(`${round} ${attempt}`)
    if (!subscriber.texts(channel).includes(`${round} ${attempt}`)) break
    assert.ok(attempt < 100, `messages of ${channel} end soon`)
  }
  const before = subscriber.texts(channel)
  for (const name of ['one', 'two', 'last']) await pass(name)
  assert.deepEqual(subscriber.texts(channel), before)
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
