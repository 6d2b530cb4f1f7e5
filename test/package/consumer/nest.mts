// Type-checked against the installed package. Never run.
import type { INestApplication } from '@nestjs/common'
import { type Connection, Hub } from 'wshub'
import {
  type GatewayConnection,
  type GatewayOptions,
  type GatewayRequest,
  type GatewayUpgrade,
  HubAdapter,
} from 'wshub/nest'

interface Meta {
  name: string
}

declare const app: INestApplication

class NameUpgrade implements GatewayUpgrade<Meta> {
  async upgrade(request: GatewayRequest) {
    return { metadata: { name: String(request.headers['x-name']) } }
  }
}

const adapter = new HubAdapter<Meta>(app, { upgrade: NameUpgrade, maxConnections: 10, close: { code: 4000 } })
app.useWebSocketAdapter(adapter)
app.useWebSocketAdapter(new HubAdapter(app))
app.useWebSocketAdapter(new HubAdapter(app, { hub: new Hub(), format: (answer) => String(answer) }))
export const hub: Hub<Meta> = adapter.hub

export const options: GatewayOptions<Meta>[] = [
  { path: '/chat', namespace: 'a', upgrade: NameUpgrade },
  { upgrade: () => undefined },
  { upgrade: ({ url }) => ({ metadata: { name: url ?? '' } }) },
]

export function handle(connection: GatewayConnection<Meta>): Connection<Meta> {
  connection.emit('hello', connection.getMetadata('name')?.toUpperCase())
  return connection
}

// @ts-expect-error no option
new HubAdapter(app, { maxConnection: 10 })
// @ts-expect-error a shared hub is closed by its owner
new HubAdapter(app, { hub: new Hub(), close: { code: 4000 } })
// @ts-expect-error metadata of another type
new HubAdapter<Meta>(app, { upgrade: () => ({ metadata: { name: 7 } }) })
