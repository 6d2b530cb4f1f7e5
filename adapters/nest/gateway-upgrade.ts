import type { IncomingHttpHeaders } from 'node:http'
import type { INestApplication, Type } from '@nestjs/common'
import { ExternalContextCreator } from '@nestjs/core'
import { HubError, type Metadata, type UpgradeInit } from 'wshub'

/** The common part of the requests of Express and Fastify. */
export interface GatewayRequest {
  readonly headers: IncomingHttpHeaders
  readonly url?: string
  readonly ip?: string | undefined
  readonly protocol?: string
}

type InitOf<Meta extends object> = UpgradeInit<Meta> | undefined

/** A provider that decides about upgrades before the 101. Its guards run as those of a route. */
export interface GatewayUpgrade<Meta extends object = Metadata> {
  /**
   * Returns the metadata and other options of the connection. An exception refuses the upgrade.
   * @param request the request of Express or Fastify
   */
  upgrade(request: GatewayRequest): InitOf<Meta> | Promise<InitOf<Meta>>
}

/** The same as a function. */
export type UpgradeFunction<Meta extends object = Metadata> = GatewayUpgrade<Meta>['upgrade']

/** The value of the option `upgrade`. */
export type UpgradeOption<Meta extends object = Metadata> =
  | Type<GatewayUpgrade<Meta>>
  | UpgradeFunction<Meta>
  | undefined

/** Runs guards and `upgrade`, and throws what they throw. */
export type GuardedUpgrade<Meta extends object> = (
  request: GatewayRequest,
  response: unknown,
) => Promise<InitOf<Meta>>

/** The provider of an application that has none of its own. The global guards see this class. */
class PlainUpgrade<Meta extends object> implements GatewayUpgrade<Meta> {
  readonly upgrade: UpgradeFunction<Meta>

  constructor(upgrade: UpgradeFunction<Meta>) {
    this.upgrade = upgrade
  }
}

/**
 * Puts the guards in front of an `upgrade`: the global ones and its own. Interceptors would change what it
 * returns, and the filters of the application answer what it throws, so neither run here.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for a class without a method `upgrade`
 */
export function guardUpgrade<Meta extends object>(
  app: INestApplication,
  option: UpgradeOption<Meta>,
): GuardedUpgrade<Meta> {
  const host = isProvider(option) ? app.get(option) : new PlainUpgrade<Meta>(option ?? (() => undefined))
  const callback = host.upgrade as (...args: unknown[]) => ReturnType<GuardedUpgrade<Meta>> // Nest passes on what the platform gave
  return app
    .get(ExternalContextCreator)
    .create(host, callback, 'upgrade', undefined, undefined, undefined, undefined, {
      guards: true,
      interceptors: false,
      filters: false,
    })
}

function isProvider<Meta extends object>(option: UpgradeOption<Meta>): option is Type<GatewayUpgrade<Meta>> {
  const { value, writable } = (option && Object.getOwnPropertyDescriptor(option, 'prototype')) ?? {}
  if (typeof value === 'object' && value !== null && 'upgrade' in value) return true
  if (option === undefined || writable !== false) return false // only the prototype of a class cannot be set
  throw new HubError('WSHUB_ERR_INVALID_OPTION', `${option.name} has no method upgrade`)
}
