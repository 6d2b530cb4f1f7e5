import { HubError, show } from './errors.ts'
import { oldestKeys } from './eviction.ts'
import { runHandler } from './run-handler.ts'
import { syncResult } from './sync-result.ts'

/** The most rooms whose rules are remembered. */
const MAX_KNOWN_ROOMS = 10_000

/**
 * The rules that an application's function gives for rooms. It is asked once for each, and remembered: at
 * least until the end of the turn, so a call that has checked all its rooms gets the same answers until it
 * ends.
 */
export class RoomRules<Answer, Rule> {
  readonly #option: string
  readonly #ask: (room: string) => Answer
  readonly #read: (answer: Answer, room: string) => Rule
  readonly #rules = new Map<string, Rule>()
  #isTrimDue = false

  /**
   * @param option the name of the function: `history.rooms`
   * @param read makes a rule of what the function returned; throws WSHUB_ERR_INVALID_OPTION
   */
  constructor(option: string, ask: (room: string) => Answer, read: (answer: Answer, room: string) => Rule) {
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
    const rule = this.#read(this.#answer(room), room)
    this.#rules.set(room, rule)
    if (this.#rules.size > MAX_KNOWN_ROOMS && !this.#isTrimDue) {
      this.#isTrimDue = true
      queueMicrotask(() => this.#trim())
    }
    return rule
  }

  #trim(): void {
    this.#isTrimDue = false
    while (this.#rules.size > MAX_KNOWN_ROOMS) {
      for (const oldest of oldestKeys(this.#rules, MAX_KNOWN_ROOMS)) this.#rules.delete(oldest)
    }
  }

  #answer(room: string): Answer {
    const where = `the option ${this.#option}`
    let answer: { readonly is: Answer } | undefined
    let cause: Error | undefined
    runHandler(
      where,
      () => {
        answer = { is: syncResult(where, this.#ask(room)) }
      },
      {
        failed: (error) => {
          cause = error
        },
      },
    )
    if (answer !== undefined) return answer.is
    const message = `${this.#option} failed for the room ${show(room)}`
    throw new HubError('WSHUB_ERR_INVALID_OPTION', message, { cause })
  }
}
