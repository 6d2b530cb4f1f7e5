import { randomUUID } from 'node:crypto'
import type { Backplane } from 'wshub'
import { ObservedBackplane } from './observed-backplane.ts'

/** Cases of the contract, by name. */
export type ContractCases = Readonly<Record<string, (context: CaseContext) => Promise<void>>>

/** The backplanes of one case. */
export class CaseContext {
  readonly #make: () => Backplane
  readonly #timeoutMs: number
  readonly #nodes: ObservedBackplane[] = []

  /**
   * @param make makes a backplane that was not started
   * @param timeoutMs time that each step may take
   */
  constructor(make: () => Backplane, timeoutMs: number) {
    this.#make = make
    this.#timeoutMs = timeoutMs
  }

  /** Returns a channel that no other case uses. */
  channel(name = 'channel'): string {
    return `${randomUUID()}.${name}`
  }

  /** Returns a backplane that was not started. */
  create(): ObservedBackplane {
    const node = new ObservedBackplane(this.#make(), this.#timeoutMs)
    this.#nodes.push(node)
    return node
  }

  /** Returns a backplane that is connected. */
  async start(): Promise<ObservedBackplane> {
    const node = this.create()
    await node.start()
    return node
  }

  async startTwo(): Promise<[ObservedBackplane, ObservedBackplane]> {
    return [await this.start(), await this.start()]
  }

  /** Closes all backplanes of the case. */
  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.inTime('close() to resolve', node.backplane.close())))
  }
}

/** Resolves in the next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
