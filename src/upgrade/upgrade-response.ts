import { type IncomingMessage, ServerResponse } from 'node:http'

/** The upgrade that a response belongs to. */
export interface ResponseOwner {
  /** Whether the response has to wait for its client before it writes more. */
  readonly needsDrain: boolean
}

/** The response to an upgrade, for the request listeners. */
export class UpgradeResponse extends ServerResponse {
  /**
   * Node sets this flag and clears it in its own listener, which it has removed; frameworks replace the
   * prototype. One getter for all: with one each, V8 makes a dictionary of every response, and an upgrade
   * allocates 5 KB more.
   */
  static readonly #needsDrain: PropertyDescriptor = {
    configurable: true,
    get(this: UpgradeResponse): boolean {
      return #owner in this && this.#owner.needsDrain
    },
  }

  readonly #owner: ResponseOwner

  constructor(req: IncomingMessage, owner: ResponseOwner) {
    super(req)
    this.#owner = owner
    this.shouldKeepAlive = false
    Object.defineProperty(this, 'writableNeedDrain', UpgradeResponse.#needsDrain)
  }
}
