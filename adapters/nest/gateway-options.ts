import type { INestApplication } from '@nestjs/common'
import { DiscoveryService, ModulesContainer, Reflector } from '@nestjs/core'
import { GATEWAY_METADATA, GATEWAY_OPTIONS, PORT_METADATA } from '@nestjs/websockets/constants.js'
import { HubError, type Metadata } from 'wshub'
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

const KNOWN: readonly (keyof GatewayOptions)[] = ['path', 'namespace', 'upgrade']
/** The characters of a path as a client sends it: no parameters, no wildcards, no query. */
const PATH = /^[\w/.~!$&'()+,;=@%-]*$/

/** Returns the path at which a gateway is served. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function servedPath({ path = '/', namespace = '' }: GatewayOptions): string {
  for (const [name, value] of Object.entries({ path, namespace })) {
    if (typeof value === 'string' && PATH.test(value)) continue
    throw invalid(`the ${name} of a gateway is a path without parameters, not ${String(value)}`)
  }
  return normalizePath(`${path}/${namespace}`)
}

/** Returns a path with one slash at its beginning, between its parts, and none at its end. */
export function normalizePath(path: string): string {
  return `/${path.split('/').filter(Boolean).join('/')}`
}

/**
 * Reads the options of all gateways of an application. Nest passes only those of the first gateway of a path
 * to an adapter, so the `upgrade` of another would never run.
 * @returns what each path has as `upgrade`
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for options that would have no effect, and when gateways of one
 *   path differ in `upgrade`
 */
export function upgradesByPath<Meta extends object>(app: INestApplication): Map<string, UpgradeOption<Meta>> {
  const upgrades = new Map<string, UpgradeOption<Meta>>()
  const reflector = new Reflector()
  for (const { metatype } of new DiscoveryService(app.get(ModulesContainer)).getProviders()) {
    if (typeof metatype !== 'function' || reflector.get(GATEWAY_METADATA, metatype) !== true) continue
    const options: GatewayOptions<Meta> = reflector.get(GATEWAY_OPTIONS, metatype) ?? {}
    for (const key of Object.keys(options)) {
      if (!(KNOWN as readonly string[]).includes(key)) {
        throw HubError.unknownKey(key, KNOWN, `an option of a gateway on a hub: ${metatype.name}`)
      }
    }
    if (options.upgrade !== undefined && typeof options.upgrade !== 'function') {
      throw invalid(`the upgrade of a gateway is a function, not ${String(options.upgrade)}`)
    }
    const port: unknown = reflector.get(PORT_METADATA, metatype)
    if (port !== undefined && port !== 0) {
      throw invalid(
        `${metatype.name} asks for port ${String(port)}: a hub is served on the application's own`,
      )
    }
    const path = servedPath(options)
    if (upgrades.has(path) && upgrades.get(path) !== options.upgrade) {
      throw invalid(`the gateways at ${path} have the same \`upgrade\`: it runs once for all of them`)
    }
    upgrades.set(path, options.upgrade)
  }
  return upgrades
}

function invalid(message: string): HubError {
  return new HubError('WSHUB_ERR_INVALID_OPTION', message)
}
