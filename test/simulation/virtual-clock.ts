import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import type { Random } from './random.ts'

/** The time at which a clock starts, in ms; not 0, which means "never" in many places. */
const EPOCH_MS = 1_000_000
/** Most tasks between two steps; more mean that the nodes send each other messages without end. */
const MAX_TASKS = 200_000
/** Tasks for which the real event loop makes one turn. */
const TASKS_PER_TURN = 64

// The real functions: this module is loaded before any clock is installed.
const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  clearImmediate: globalThis.clearImmediate,
}
const realDateNow = Date.now
const realRandom = Math.random
const realRandomBytes = crypto.randomBytes

/** A callback that is due at some time. It has the methods of Node's timers. */
class Task {
  readonly owner: string
  readonly run: () => void
  /** Whether code under test has started it, which must stop it as well. */
  readonly isTimer: boolean
  readonly periodMs: number | undefined
  at: number
  order: number
  isDone = false

  constructor(
    owner: string,
    run: () => void,
    isTimer: boolean,
    at: number,
    order: number,
    periodMs?: number,
  ) {
    this.owner = owner
    this.run = run
    this.isTimer = isTimer
    this.at = at
    this.order = order
    this.periodMs = periodMs
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }
}

/**
 * The time of a simulation, which does not pass while code runs. Every task belongs to an owner, a node or
 * `world`, which it inherits from the task that started it. An owner can be paused, like a process that is
 * stopped, or ended, like one that is killed.
 */
export class VirtualClock {
  readonly #random: Random
  readonly #timers: Task[] = []
  #immediates: Task[] = []
  readonly #paused = new Map<string, Task[]>()
  readonly #ended = new Set<string>()
  #order = 0
  #now = EPOCH_MS
  #owner = 'world'

  constructor(random: Random) {
    this.#random = random
  }

  /** The time in ms since the clock started. */
  get now(): number {
    return this.#now - EPOCH_MS
  }

  /** Replaces timers, clocks and random numbers of this process, until `uninstall`. */
  install(): void {
    const start = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Task =>
      this.#start(() => run(...args), ms)
    const repeat = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Task =>
      this.#start(() => run(...args), ms, Math.max(1, ms))
    const immediate = (run: (...args: unknown[]) => void, ...args: unknown[]): Task =>
      this.#enqueue(this.#owner, () => run(...args))
    const stop = (task: Task | undefined): void => {
      if (task instanceof Task) task.isDone = true
    }
    // Node's types want its own classes of timers; a Task has the methods that are used.
    Object.assign(globalThis, {
      setTimeout: start,
      clearTimeout: stop,
      setInterval: repeat,
      clearInterval: stop,
      setImmediate: immediate,
      clearImmediate: stop,
    })
    Object.defineProperty(performance, 'now', { value: () => this.#now, configurable: true })
    Date.now = () => this.#now
    Math.random = () => this.#random.next()
    Object.assign(crypto, { randomBytes: (count: number) => this.#random.bytes(count) })
    syncBuiltinESMExports()
  }

  uninstall(): void {
    Object.assign(globalThis, real)
    Reflect.deleteProperty(performance, 'now') // the method of the prototype is back
    Date.now = realDateNow
    Math.random = realRandom
    Object.assign(crypto, { randomBytes: realRandomBytes })
    syncBuiltinESMExports()
  }

  /** Schedules a task of an owner after `ms`; tasks of the same time run in the order of these calls. */
  post(owner: string, run: () => void, ms = 0): void {
    this.#push(new Task(owner, run, false, this.#now + Math.max(0, ms), ++this.#order))
  }

  /** Runs a function whose timers belong to an owner. */
  as<T>(owner: string, run: () => T): T {
    const before = this.#owner
    this.#owner = owner
    try {
      return run()
    } finally {
      this.#owner = before
    }
  }

  /** Holds back the tasks of an owner. */
  pause(owner: string): void {
    if (!this.#paused.has(owner)) this.#paused.set(owner, [])
  }

  /** Ends a pause: the tasks that were held back run as soon as the time moves on. */
  resume(owner: string): void {
    const missed = this.#paused.get(owner)
    if (missed === undefined) return
    this.#paused.delete(owner)
    this.#immediates.push(...missed)
  }

  isPaused(owner: string): boolean {
    return this.#paused.has(owner)
  }

  /** Drops the tasks of an owner, for good. */
  end(owner: string): void {
    this.#ended.add(owner)
    this.#paused.delete(owner)
  }

  /** Returns how many timers an owner has started and not stopped. */
  timersOf(owner: string): number {
    const isOpen = (task: Task) => task.owner === owner && task.isTimer && !task.isDone
    return this.#timers.filter(isOpen).length + this.#immediates.filter(isOpen).length
  }

  /**
   * Moves on by `ms`, and runs what becomes due. Each task has a turn of its own, so promises and
   * `process.nextTick` go first, as on a real event loop.
   */
  advance(ms: number): Promise<void> {
    const end = this.#now + ms
    return new Promise((resolve, reject) => {
      let isDone = false
      let count = 0
      const settle = (error?: unknown): void => {
        isDone = true
        this.#owner = 'world'
        if (error === undefined) resolve()
        else reject(error)
      }
      const one = (): void => {
        if (isDone) return
        const task = this.#next(end)
        if (task === undefined) {
          this.#now = end
          settle()
          return
        }
        if (++count > MAX_TASKS) {
          settle(new Error(`more than ${MAX_TASKS} tasks in ${ms} ms`))
          return
        }
        this.#owner = task.owner
        try {
          task.run()
        } catch (error) {
          settle(error)
        }
      }
      const turn = (): void => {
        for (let i = 0; i < TASKS_PER_TURN; i++) real.setImmediate(one)
        real.setImmediate(() => {
          if (!isDone) turn()
        })
      }
      turn()
    })
  }

  #start(run: () => void, ms: number, periodMs?: number): Task {
    // As in Node: not a number, or too large, means 1 ms.
    const delayMs = ms >= 1 && ms <= 2_147_483_647 ? ms : 1
    const task = new Task(this.#owner, run, true, this.#now + delayMs, ++this.#order, periodMs)
    this.#push(task)
    return task
  }

  #enqueue(owner: string, run: () => void): Task {
    const task = new Task(owner, run, true, this.#now, ++this.#order)
    this.#immediates.push(task)
    return task
  }

  /** Returns the next task that may run, or `undefined` when there is none before `end`. */
  #next(end: number): Task | undefined {
    for (;;) {
      let task = this.#immediates.shift()
      if (task === undefined) {
        const [first] = this.#timers
        if (first === undefined || first.at > end) return undefined
        task = this.#pop() ?? first
        this.#now = Math.max(this.#now, task.at)
      }
      if (task.isDone || this.#ended.has(task.owner)) continue
      const missed = this.#paused.get(task.owner)
      if (missed !== undefined) {
        missed.push(task)
        continue
      }
      if (task.periodMs === undefined) {
        task.isDone = true
      } else {
        task.at = this.#now + task.periodMs
        task.order = ++this.#order
        this.#push(task)
      }
      return task
    }
  }

  /** Adds to the heap. */
  #push(task: Task): void {
    const heap = this.#timers
    let i = heap.push(task) - 1
    while (i > 0) {
      const up = (i - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || !isBefore(task, parent)) break
      heap[i] = parent
      i = up
    }
    heap[i] = task
  }

  /** Takes the earliest task from the heap. */
  #pop(): Task | undefined {
    const heap = this.#timers
    const [top] = heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let i = 0
    for (;;) {
      let down = 2 * i + 1
      let child = heap[down]
      const right = heap[down + 1]
      if (child !== undefined && right !== undefined && isBefore(right, child)) {
        child = right
        down++
      }
      if (child === undefined || !isBefore(child, last)) break
      heap[i] = child
      i = down
    }
    heap[i] = last
    return top
  }
}

function isBefore(a: Task, b: Task): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
