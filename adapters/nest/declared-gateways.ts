import type { INestApplication, Type } from '@nestjs/common'
import { DiscoveryService, ModulesContainer, Reflector } from '@nestjs/core'
// Nest calls these keys internal, but has no other way to find the gateways: it neither waits for their
// `handleConnection` nor passes on the options of a second gateway at a path. The tests of both, and of
// `upgrade`, fail when a version of Nest changes the keys.
import { GATEWAY_METADATA, GATEWAY_OPTIONS, PORT_METADATA } from '@nestjs/websockets/constants.js'
import type { GatewayOptions } from './gateway-options.ts'

/** A gateway of an application, as it is declared. */
export interface DeclaredGateway<Meta extends object> {
  readonly name: string
  readonly options: GatewayOptions<Meta>
  readonly port: unknown
  /** The one object that has the handlers; `undefined` if each connection has its own. */
  readonly instance: object | undefined
}

/** Returns the gateways that Nest binds to an adapter. */
export function declaredGateways<Meta extends object>(app: INestApplication): DeclaredGateway<Meta>[] {
  const reflector = new Reflector()
  return new DiscoveryService(app.get(ModulesContainer)).getProviders().flatMap((provider) => {
    if (provider.isNotMetatype || provider.metatype === null) return []
    const type = provider.metatype as Type // it is constructed, since it is no factory and no value
    if (reflector.get(GATEWAY_METADATA, type) !== true) return []
    return {
      name: type.name,
      options: reflector.get(GATEWAY_OPTIONS, type) ?? {},
      port: reflector.get(PORT_METADATA, type),
      instance: provider.isDependencyTreeStatic() ? provider.instance : undefined,
    }
  })
}
