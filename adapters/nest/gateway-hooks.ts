import type { Connection } from 'wshub'
import type { DeclaredGateway } from './declared-gateways.ts'
import type { GatewaySession } from './gateway-session.ts'

/** The methods of gateways that Nest calls without waiting for them, and without catching their errors. */
const HOOKS = ['handleConnection', 'handleDisconnect'] as const

/**
 * Puts a function around these methods of a gateway. With Nest alone, an error of theirs ends the process,
 * and messages are handled while `handleConnection` still runs.
 */
export function guardHooks<Meta extends object>(
  { instance }: DeclaredGateway<Meta>,
  sessions: WeakMap<Connection<Meta>, GatewaySession<Meta>>,
): void {
  if (instance === undefined) return
  const methods = instance as Partial<Record<(typeof HOOKS)[number], unknown>> // each is checked below
  for (const name of HOOKS) {
    const method = methods[name]
    if (typeof method !== 'function') continue
    const value = (connection: Connection<Meta>, ...others: unknown[]): unknown => {
      const hook = () => method.call(instance, connection, ...others)
      const session = sessions.get(connection)
      return session === undefined ? hook() : session.runHook(hook)
    }
    // A frozen gateway keeps its own.
    Reflect.defineProperty(instance, name, { value, configurable: true, writable: true })
  }
}
