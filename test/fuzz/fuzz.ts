/**
 * Sends hostile inputs to a server process, beside a client that must not be affected, and checks that
 * nothing is left of them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { compiled } from '../support/compiled.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { Ending, type Input, input } from './inputs.ts'
import { Neighbour } from './neighbour.ts'
import { Pipeliner } from './pipeliner.ts'
import type { Audit, FromServer } from './server.ts'

export interface FuzzOptions {
  /** The number of inputs, each on its own TCP connection; rounded up to whole batches. */
  inputs: number
  seed: number
  onProgress?: (inputs: number) => void
  /** Called at once with the first failure; after that a smaller counterexample is searched for. */
  onFailure?: (error: unknown) => void
}

export interface FuzzReport {
  inputs: number
  seed: number
  seconds: number
  /**
   * Numbered messages that the unaffected client sent and received back, and broadcasts that it received, all
   * in order.
   */
  exchanged: number
  ticks: number
  /** Requests of the client that always has one in flight. */
  pipelined: number
  /** Memory of the server after a collection: after the first tenth of the inputs, and at the end. */
  heapBytes: { before: number; after: number }
  audit: Audit
}

/** Inputs sent at the same time; a counterexample is one batch. */
const BATCH = 20
/** The time for finding a smaller counterexample. */
const SHRINK_MS = 60_000
/** The growth of the heap that is allowed between the first tenth of the inputs and the end. */
const MAX_GROWTH_BYTES = 8 * 1024 * 1024
/**
 * The memory that the server may use at any time, garbage included: a batch of bombs, inflated at once, would
 * be 1 GB.
 */
const MAX_PEAK_BYTES = 256 * 1024 * 1024
/**
 * Requests that may be left besides those that are not answered: the latest one of the process may be on a
 * stack.
 */
const MAX_REQUESTS = 50
/** The longest delay before a client disconnects: longer than the pause of `/paused`. */
const LATE_MS = 75
const MAX_STDERR = 20_000
const SERVER = fileURLToPath(new URL('server.ts', import.meta.url))

/**
 * Runs inputs against a server.
 * @throws with the smallest batch that makes it fail: the process ends, reports an error that no client
 *   caused, or keeps a connection; its memory grows; or the unaffected client misses a message
 */
export async function fuzz({ inputs, seed, onProgress, onFailure }: FuzzOptions): Promise<FuzzReport> {
  const started = performance.now()
  const batches = Math.ceil(inputs / BATCH)
  const warmUp = Math.ceil(batches / 10)
  let arena = await Arena.open()
  let done = 0
  let before: Audit | undefined
  let failedAt: number | undefined
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(input, { minLength: BATCH, maxLength: BATCH }), async (batch) => {
        if (failedAt !== undefined && performance.now() - failedAt > SHRINK_MS) return
        if (arena.isBroken) {
          // Shrinking: the last attempt has failed, and this one needs a server of its own.
          await arena.close()
          arena = await Arena.open()
        }
        try {
          await arena.endure(batch)
          if (failedAt !== undefined) return
          done++
          onProgress?.(done * BATCH)
          if (done === warmUp) before = await arena.audit()
        } catch (error) {
          if (failedAt === undefined) onFailure?.(error)
          failedAt ??= performance.now()
          throw error
        }
      }),
      { numRuns: batches, seed },
    )
    const audit = await arena.audit()
    if (before === undefined) throw new Error('there was no first audit')
    const growth = audit.heapBytes - before.heapBytes
    if (growth > MAX_GROWTH_BYTES) {
      throw new Error(`the heap has grown by ${growth} bytes: ${JSON.stringify({ before, audit })}`)
    }
    if (audit.peakBytes > MAX_PEAK_BYTES) throw new Error(`the server had ${audit.peakBytes} bytes in memory`)
    const { exchanged, ticks } = await arena.neighbour.leave(audit.ticks)
    return {
      inputs: batches * BATCH,
      seed,
      seconds: Math.round((performance.now() - started) / 100) / 10,
      exchanged,
      ticks,
      pipelined: arena.pipeliner.answered,
      heapBytes: { before: before.heapBytes, after: audit.heapBytes },
      audit,
    }
  } finally {
    await arena.close()
  }
}

/** Sends these inputs to their own server. @throws like {@link fuzz} */
export async function endure(inputs: readonly Input[]): Promise<Audit> {
  const arena = await Arena.open()
  try {
    await arena.endure(inputs)
    return await arena.audit()
  } finally {
    await arena.close()
  }
}

/** A server process and a well-behaved client. */
class Arena {
  readonly #child: ChildProcess
  readonly #audits: ((audit: Audit) => void)[] = []
  #neighbour: Neighbour | undefined
  #pipeliner: Pipeliner | undefined
  #stderr = ''
  #problem: string | undefined
  #port = 0
  #listening = () => {}
  /** Rejects with the first problem of any kind. */
  readonly #broken: Promise<never>
  #break: (error: Error) => void = () => {}

  private constructor() {
    this.#broken = new Promise((_resolve, reject) => {
      this.#break = reject
    })
    this.#broken.catch(() => {}) // every wait races against it
    this.#child = spawn(
      process.execPath,
      ['--expose-gc', '--stack-trace-limit=30', '--enable-source-maps', compiled(SERVER)],
      {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      },
    )
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR)
    })
    this.#child.on('error', (error) => this.#fail(`the server cannot be reached: ${error.stack}`))
    // At 'close', when all of stderr has been read.
    this.#child.on('close', (code, signal) =>
      this.#fail(`the server has ended with ${signal ?? code}: ${this.#stderr}`),
    )
    this.#child.on('message', (message: FromServer) => {
      if (message.type === 'listening') {
        this.#port = message.port
        this.#listening()
      } else if (message.type === 'audit') {
        this.#audits.shift()?.(message.audit)
      } else {
        this.#fail(`the server saw something unexpected: ${message.what}`)
      }
    })
  }

  static async open(): Promise<Arena> {
    const arena = new Arena()
    await arena.#inTime(
      'the server to listen',
      new Promise<void>((resolve) => {
        arena.#listening = resolve
      }),
    )
    // Wait a moment: if the server has ended, that is the better message, and it arrives later.
    arena.#neighbour = new Neighbour(`ws://127.0.0.1:${arena.#port}/`, (what) => {
      setTimeout(() => arena.#fail(what), 500).unref()
    })
    await arena.#inTime('the neighbour to open', arena.#neighbour.opened)
    arena.#pipeliner = new Pipeliner(arena.#port, (what) => {
      setTimeout(() => arena.#fail(what), 500).unref()
    })
    return arena
  }

  get isBroken(): boolean {
    return this.#problem !== undefined
  }

  get neighbour(): Neighbour {
    if (this.#neighbour === undefined) throw new Error('the neighbour has not come yet')
    return this.#neighbour
  }

  get pipeliner(): Pipeliner {
    if (this.#pipeliner === undefined) throw new Error('the pipeliner has not come yet')
    return this.#pipeliner
  }

  /**
   * Sends a batch, and resolves once every connection has ended and the well-behaved client has its answer.
   */
  async endure(batch: readonly Input[]): Promise<void> {
    await Promise.all(batch.map((one) => this.#inTime('a connection to end', this.#throw(one))))
    await this.#inTime('the neighbour to be answered', this.neighbour.answered())
  }

  /** Resolves once only the well-behaved client and the pipeliner are left, and no answered request is. */
  async audit(): Promise<Audit> {
    const end = Date.now() + WAIT_MS
    for (;;) {
      const audit = await this.#inTime(
        'an audit',
        new Promise<Audit>((resolve) => {
          this.#audits.push(resolve)
          this.#child.send('audit')
        }),
      )
      const { connections, sockets, rooms, requests, opened, closed } = audit
      const isClean = connections === 1 && sockets === 2 && rooms === 0 && requests <= MAX_REQUESTS
      if (isClean && opened - closed === 1) return audit
      if (Date.now() > end) throw this.#failure(`something is left: ${JSON.stringify(audit)}`)
      await wait(50)
    }
  }

  async close(): Promise<void> {
    this.#problem ??= 'it is closed'
    this.#neighbour?.terminate()
    this.#pipeliner?.leave()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once('close', resolve))
      this.#child.kill('SIGKILL')
      await ended
    }
  }

  /** Sends one input on one TCP connection; resolves once that has ended on both sides. */
  async #throw({ opening, eager, bytes, cuts, ending }: Input): Promise<void> {
    const socket = await this.#connect()
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const answered = new Promise<void>((resolve) => {
      socket.once('data', () => resolve())
      socket.once('close', () => resolve())
    })
    socket.resume()
    socket.write(opening, 'latin1')
    if (!eager) await answered
    await writeCut(socket, bytes, cuts)
    if (ending === Ending.answered) await Promise.race([answered, wait(20)])
    if (ending === Ending.late) await wait(LATE_MS)
    if (ending === Ending.fin || ending === Ending.late) socket.end()
    else if (!socket.destroyed) socket.resetAndDestroy()
    await closed
  }

  /** Loopback has 28,000 ports, each of which is blocked for a second after use. */
  async #connect(): Promise<Socket> {
    for (;;) {
      const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
      const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
        socket.once('connect', () => resolve(undefined))
        socket.once('error', resolve)
      })
      if (error === undefined) {
        socket.on('error', () => {}) // 'close' follows
        socket.on('end', () => socket.end())
        return socket
      }
      // Report other problems a moment later: if the server has ended, that is the better message.
      await wait(error.code === 'EADDRNOTAVAIL' ? 100 : 500)
      if (error.code !== 'EADDRNOTAVAIL') throw this.#failure(String(error))
    }
  }

  #fail(problem: string): void {
    this.#problem ??= problem
    this.#break(new Error(problem))
  }

  #failure(problem: string): Error {
    this.#fail(problem)
    return new Error(problem)
  }

  async #inTime<T>(what: string, promise: Promise<T>): Promise<T> {
    const timeout = new AbortController()
    const late = wait(WAIT_MS, undefined, { signal: timeout.signal }).then(
      () => {
        throw this.#failure(`waited ${WAIT_MS} ms for ${what}; stderr: ${this.#stderr}`)
      },
      () => this.#broken, // in time
    )
    try {
      return await Promise.race([promise, late, this.#broken])
    } finally {
      timeout.abort()
    }
  }
}

/** Writes the pieces in separate turns, so that most arrive separately. */
async function writeCut(socket: Socket, bytes: Uint8Array, cuts: readonly number[]): Promise<void> {
  let start = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const end = Math.floor(cut * bytes.length)
    if (end > start && !socket.destroyed) socket.write(bytes.subarray(start, end))
    start = Math.max(start, end)
    await turn()
  }
  if (!socket.destroyed) socket.write(bytes.subarray(start))
}
