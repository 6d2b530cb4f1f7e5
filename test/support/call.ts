/**
 * Calls between a test and its processes, and between those, on the same channel as an application's own
 * messages.
 */
export interface Call {
  readonly call: number
  /** The worker to which a primary passes it on, by number; -1 = it is for its receiver. */
  readonly to: number
  readonly method: string
  readonly args: readonly unknown[]
}

export interface Answer {
  readonly answer: number
  readonly value?: unknown
  readonly error?: string
}

export type Methods = Readonly<Record<string, (...args: never[]) => unknown>>

export function isCall(message: unknown): message is Call {
  return typeof message === 'object' && message !== null && 'call' in message
}

export function isAnswer(message: unknown): message is Answer {
  return typeof message === 'object' && message !== null && 'answer' in message
}

export async function answer(methods: Methods, { call, method, args }: Call): Promise<Answer> {
  try {
    const value = await methods[method]?.(...(args as never[])) // the caller knows the parameters of each
    return { answer: call, value }
  } catch (error) {
    return { answer: call, error: error instanceof Error ? error.message : String(error) }
  }
}

/** Calls another process, and waits for its answers. */
export class Caller {
  readonly #send: (call: Call) => void
  readonly #asked = new Map<number, (answer: Answer) => void>()
  #next = 0

  constructor(send: (call: Call) => void) {
    this.#send = send
  }

  /** Takes the messages of the other process, some of which are answers. */
  receive(message: unknown): void {
    if (isAnswer(message)) this.#asked.get(message.answer)?.(message)
  }

  async call(to: number, method: string, args: readonly unknown[]): Promise<unknown> {
    const call = this.#next++
    const answered = new Promise<Answer>((resolve) => this.#asked.set(call, resolve))
    this.#send({ call, to, method, args })
    const { value, error } = await answered
    this.#asked.delete(call)
    if (error !== undefined) throw new Error(error)
    return value
  }
}
