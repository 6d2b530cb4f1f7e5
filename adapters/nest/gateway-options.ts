import { HubError, type Metadata } from 'wshub'
import { checkFunctions, checkOptions, show } from '../arguments.ts'
import type { DeclaredGateway } from './declared-gateways.ts'
import type { UpgradeOption } from './gateway-upgrade.ts'

/** The options of `@WebSocketGateway()` on a hub. */
export interface GatewayOptions<Meta extends object = Metadata> {
  /** The path of the upgrade, without parameters. Default `/`. */
  path?: string | undefined
  /** The second part of the path: `{ path: '/ws', namespace: 'chat' }` is `/ws/chat`. Default none. */
  namespace?: string | undefined
  /** Runs before the 101: a provider or a function. Default that of the adapter. */
  upgrade?: UpgradeOption<Meta>
}

const KNOWN: readonly string[] = ['path', 'namespace', 'upgrade'] satisfies (keyof GatewayOptions)[]
/** The characters of a path as a client sends it: no parameters, no wildcards, no query. */
const PATH = /^[\w/.~!$&'()+,;=@%-]*$/

/** Returns the path at which a gateway is served. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function servedPath({ path = '/', namespace = '' }: GatewayOptions): string {
  for (const [name, value] of Object.entries({ path, namespace })) {
    if (typeof value === 'string' && PATH.test(value)) continue
    throw invalid(`the ${name} of a gateway is a path without parameters, not ${show(value)}`)
  }
  return `/${`${path}/${namespace}`.split('/').filter(Boolean).join('/')}`
}

/**
 * Returns the path of a request as it stands. Middleware that is mounted at the path of a gateway may not run
 * for `//chat` or `/chat/`, so the gateway is not there either.
 */
export function requestedPath(url = '/'): string {
  const [path = '/'] = url.split('?', 1)
  return path
}

/**
 * Reads the options of all gateways of an application. Nest passes only those of the first gateway of a path
 * to an adapter, so the `upgrade` of another would never run.
 * @returns what each path has as `upgrade`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for options that would have no effect, and when gateways of one
 *   path differ in `upgrade`
 */
export function upgradesByPath<Meta extends object>(
  gateways: readonly DeclaredGateway<Meta>[],
): Map<string, UpgradeOption<Meta>> {
  const upgrades = new Map<string, UpgradeOption<Meta>>()
  for (const { name, options, port } of gateways) {
    checkOptions(options, KNOWN, `a gateway on a hub: ${name}`)
    const { upgrade } = options
    checkFunctions({ [`upgrade of ${name}`]: upgrade })
    if (port !== undefined && port !== 0) {
      throw invalid(`${name} asks for port ${show(port)}: a hub is served on the application's own`)
    }
    const path = servedPath(options)
    if (upgrades.has(path) && upgrades.get(path) !== upgrade) {
      throw invalid(`the gateways at ${path} must have the same \`upgrade\`: it runs once for all of them`)
    }
    upgrades.set(path, upgrade)
  }
  return upgrades
}

function invalid(message: string): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', message)
}
