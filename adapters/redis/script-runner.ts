import type { Script } from './history-scripts.ts'

/** Sends a command to a server; `bytes` is the size of what it carries. */
export type Send = (args: readonly (string | Buffer)[], bytes: number) => Promise<unknown>

/**
 * Runs scripts over one connection: the first time with their text, then by their names in the cache of the
 * server. When a script is not there any more, those that were under way are repeated with its text, before
 * all later ones. The calls keep their order, unless another connection brings the script back meanwhile.
 */
export class ScriptRunner {
  readonly #send: Send
  /** Names of the scripts that were sent with their text, without an error since. */
  readonly #sent = new Set<string>()
  readonly #underWay = new Set<Promise<unknown>>()
  /** Resolves when no call is under way any more; there while scripts are missing. */
  #missing: Promise<unknown> | undefined
  /** Resolves after those that wait for `#missing` have gone on. */
  #repeated: Promise<unknown> | undefined

  constructor(send: Send) {
    this.#send = send
  }

  async run(
    { sha, text }: Script,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
    bytes: number,
  ): Promise<unknown> {
    while (this.#repeated !== undefined) await this.#repeated
    const rest = [`${keys.length}`, ...keys, ...args]
    const first = this.#sent.has(sha) ? ['EVALSHA', sha] : ['EVAL', text]
    this.#sent.add(sha)
    try {
      return await this.#track(this.#send([...first, ...rest], bytes))
    } catch (error) {
      this.#sent.delete(sha) // it was not sent, or not taken: while Redis loads its file, for example
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      await this.#idle()
      return await this.#track(this.#send(['EVAL', text, ...rest], bytes))
    }
  }

  #track(reply: Promise<unknown>): Promise<unknown> {
    this.#underWay.add(reply)
    const settled = () => void this.#underWay.delete(reply)
    reply.then(settled, settled)
    return reply
  }

  #idle(): Promise<unknown> {
    if (this.#missing === undefined) {
      const missing = Promise.allSettled(this.#underWay)
      this.#missing = missing
      this.#repeated = missing.then(() => {
        this.#missing = undefined
        this.#repeated = undefined
      })
    }
    return this.#missing
  }
}
