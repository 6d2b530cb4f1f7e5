import { HubError, show } from './errors.ts'
import { oldestKeys } from './eviction.ts'
import { runHandler } from './run-handler.ts'

/** The most rooms whose rules are remembered. */
const MAX_KNOWN_ROOMS = 10_000

/** The rules that an application's function gives for rooms. It is asked once for each, and remembered. */
export class RoomRules<Rule> {
  readonly #option: string
  readonly #ask: (room: string) => unknown
  readonly #read: (answer: unknown) => Rule
  readonly #rules = new Map<string, Rule>()

  /**
   * @param option the name of the function: `history.rooms`
   * @param read makes a rule of what the function returned; throws WSHUB_ERR_INVALID_OPTION
   */
  constructor(option: string, ask: (room: string) => unknown, read: (answer: unknown) => Rule) {
    this.#option = option
    this.#ask = ask
    this.#read = read
  }

  /**
   * Returns the rule of a room.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when the function throws or returns nothing of use
   */
  of(room: string): Rule {
    const known = this.#rules.get(room)
    if (known !== undefined || this.#rules.has(room)) return known as Rule // Rule may include undefined
    const rule = this.#read(this.#answer(room))
    if (this.#rules.size >= MAX_KNOWN_ROOMS) {
      for (const oldest of oldestKeys(this.#rules, MAX_KNOWN_ROOMS)) this.#rules.delete(oldest)
    }
    this.#rules.set(room, rule)
    return rule
  }

  #answer(room: string): unknown {
    let answer: unknown
    let failure: Error | undefined
    runHandler(
      `the option ${this.#option}`,
      () => {
        answer = this.#ask(room)
      },
      {
        failed: (error) => {
          failure = error
        },
      },
    )
    if (failure === undefined) return answer
    const message = `${this.#option} failed for the room ${show(room)}`
    throw new HubError('WSHUB_ERR_INVALID_OPTION', message, { cause: failure })
  }
}
