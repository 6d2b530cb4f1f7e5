import type { Metadata } from '../base/metadata.ts'
import type { Connection } from '../connection/connection.ts'
import type { EventHandler } from '../connection/event-handler.ts'
import type { UpgradeInit } from './upgrade-init.ts'

/** The object of a framework that answers a request: Fastify's reply, Express's response, Koa's context. */
export interface Upgrader {
  /**
   * Answers the request with 101, including the headers already set on the answer, and opens a connection. It
   * must be called before anything is sent. A refusal is thrown at once, and the error handling of the
   * framework renders it.
   *
   * Only Express 4 differs, since it does not catch errors of async routes: there the refusal goes to the
   * error handler directly, nothing is thrown, and the promise never settles, so neither the code after an
   * `await` nor a `finally` around it runs. In Express 4, acquire nothing before it that must be released:
   * acquire in `onOpen`, release in `onClose`. `req.hub.upgrade` throws in Express 4 too.
   * @throws {HubError} see `hub.upgrade`
   */
  upgradeWebSocket<Meta extends object = Metadata>(
    handler: EventHandler<Meta>,
    init?: UpgradeInit<Meta>,
  ): Promise<Connection<Meta>>
}
