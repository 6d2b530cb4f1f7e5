// Checked by `npm run types`, and never run: the types of the adapter for Nest.
import type { Request } from 'express'
import type { FastifyRequest } from 'fastify'
import { expectTypeOf } from 'vitest'
import type { Hub, Message, Payload } from 'wshub'
import type {
  GatewayConnection,
  GatewayMessage,
  GatewayOptions,
  GatewayRequest,
  HubAdapter,
  HubAdapterSettings,
  UpgradeFunction,
} from 'wshub/nest'

interface Meta {
  name: string
}

declare const adapter: HubAdapter<Meta>
declare const connection: GatewayConnection<Meta>

expectTypeOf(adapter.hub).toEqualTypeOf<Hub<Meta>>()
expectTypeOf(connection.hub).toEqualTypeOf<Hub<Meta>>()
expectTypeOf(connection.emit('event', { any: 'data' })).toEqualTypeOf<boolean>()
expectTypeOf<HubAdapterSettings['parse']>().toEqualTypeOf<
  ((message: Message) => GatewayMessage | undefined) | undefined
>()
expectTypeOf<HubAdapterSettings['format']>().toEqualTypeOf<((answer: unknown) => Payload) | undefined>()

// The request of either platform is one, and an `upgrade` may ask for that of its own.
expectTypeOf<Request>().toExtend<GatewayRequest>()
expectTypeOf<FastifyRequest>().toExtend<GatewayRequest>()
expectTypeOf((request: Request) => ({ metadata: { name: request.path } })).toExtend<UpgradeFunction<Meta>>()
expectTypeOf<(request: FastifyRequest) => Promise<undefined>>().toExtend<UpgradeFunction>()
expectTypeOf((request: Request) => ({ metadata: { name: request.ips } })).not.toExtend<
  UpgradeFunction<Meta>
>()

class Provider {
  upgrade(request: FastifyRequest) {
    return { metadata: { name: request.id } }
  }
}
const options: GatewayOptions<Meta> = { path: '/chat', upgrade: Provider }
expectTypeOf(options.path).toEqualTypeOf<string | undefined>()
