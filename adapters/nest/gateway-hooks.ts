import type { DeclaredGateway } from './declared-gateways.ts'

/** The methods of gateways that Nest calls without waiting for them, and without catching their errors. */
const HOOKS = ['handleConnection', 'handleDisconnect'] as const

/**
 * Puts a function around these methods of a gateway. With Nest alone, an error of theirs ends the process,
 * and messages are handled while `handleConnection` still runs.
 * @param run calls the method for a connection, and returns `false` if it does not, since the application
 *   has called it itself
 */
export function guardHooks(
  { instance }: DeclaredGateway<object>,
  run: (connection: unknown, hook: () => unknown) => boolean,
): void {
  if (instance === undefined) return
  const methods = instance as Partial<Record<(typeof HOOKS)[number], unknown>> // each is checked below
  for (const name of HOOKS) {
    const method = methods[name]
    if (typeof method !== 'function') continue
    const guarded = (...args: unknown[]): unknown => {
      const hook = () => method.apply(instance, args)
      return run(args[0], hook) ? undefined : hook()
    }
    // A frozen gateway keeps its own.
    Reflect.defineProperty(instance, name, { value: guarded, configurable: true, writable: true })
  }
}
