import type { BackplaneState } from '../backplane/backplane.ts'
import { BackplaneLife } from '../backplane/backplane-life.ts'
import { followBus } from '../backplane/bus-members.ts'
import { checkKeys, invalid } from '../base/option-rules.ts'
import type {
  Appended,
  HistoryLimits,
  HistoryListener,
  HistoryStore,
  Mark,
  ReadRequest,
  ReadResult,
  StoredRecord,
} from './history-store.ts'
import { MEMORY_HISTORY_DEFAULTS, MemoryHistoryBus, type MemoryHistoryLimits } from './memory-history-bus.ts'

/** The memory that {@link memoryHistory} uses. An explicit `undefined` means the default. */
export interface MemoryHistoryOptions extends MemoryHistoryLimits {
  /**
   * Shared by the stores of hubs that share their histories; the limits are then options of the bus. Default
   * none.
   */
  bus?: MemoryHistoryBus | undefined
}

const KNOWN_KEYS = Object.freeze({ ...MEMORY_HISTORY_DEFAULTS, bus: undefined })

/**
 * Keeps the history of rooms in the memory of this process, for one hub. The history ends with the process;
 * hubs of several processes need a store that they share.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function memoryHistory(options: MemoryHistoryOptions = {}): HistoryStore {
  checkKeys(options, KNOWN_KEYS, 'an option of a history in memory')
  const { bus, ...limits } = options
  if (bus === undefined) return new MemoryHistory(new MemoryHistoryBus(limits), false)
  if (!(bus instanceof MemoryHistoryBus)) throw invalid('bus', 'is a MemoryHistoryBus', bus)
  for (const [key, limit] of Object.entries(limits)) {
    if (limit !== undefined) throw invalid(key, 'is for the bus to limit, where there is one', limit)
  }
  return new MemoryHistory(bus, true)
}

class MemoryHistory implements HistoryStore {
  readonly isShared: boolean
  readonly #bus: MemoryHistoryBus
  /** Its channels are rooms. */
  readonly #life = new BackplaneLife()
  #listener: HistoryListener | undefined
  #leave: (() => void) | undefined

  constructor(bus: MemoryHistoryBus, isShared: boolean) {
    this.#bus = bus
    this.isShared = isShared
  }

  get state(): BackplaneState {
    return this.#life.state
  }

  start(listener: HistoryListener): Promise<void> {
    const ofLife = {
      onMessage: () => {},
      onStateChange: (state: BackplaneState) => listener.onStateChange(state),
      onError: (error: Error) => listener.onError(error),
    }
    return this.#life.start(ofLife, () => {
      this.#listener = listener
      this.#leave = this.#bus.join({
        busChanged: () => followBus(this.#life, this.#bus.isCut),
        receive: ({ room, stored }) => this.#receive(room, stored),
      })
    })
  }

  async append(room: string, record: Uint8Array, limits: HistoryLimits): Promise<Appended> {
    this.#life.signal.throwIfAborted()
    return this.#bus.append(room, record, limits)
  }

  async read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    this.#life.signal.throwIfAborted()
    return this.#bus.read(room, request, limits)
  }

  async heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    this.#life.signal.throwIfAborted()
    return rooms.map((room) => this.#bus.head(room))
  }

  subscribe(room: string): Promise<void> {
    return this.#life.subscribe(room, () => {
      if (this.state === 'connected') this.#life.channels.confirm(room)
    })
  }

  unsubscribe(room: string): void {
    this.#life.channels.delete(room)
  }

  async close(): Promise<void> {
    this.#leave?.()
    this.#life.close()
  }

  #receive(room: string, stored: StoredRecord): void {
    if (this.#life.channels.has(room)) this.#listener?.onMessage(room, stored)
  }
}
