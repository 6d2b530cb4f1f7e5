import type { INestApplication, Type } from '@nestjs/common'
import { DiscoveryService, ModulesContainer, Reflector } from '@nestjs/core'
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
