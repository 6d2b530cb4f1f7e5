// Checked by `npm run types`, and never run: a hub that knows its metadata is accepted wherever a hub is.
import fastify from 'fastify'
import { expectTypeOf } from 'vitest'
import {
  type Cluster,
  type Connection,
  type EventHandler,
  Hub,
  type Metadata,
  type MetadataMap,
  type UpgradeInit,
} from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'

/**
 * An interface has no index signature, so it is not a `Record<string, unknown>`; a type alias is. Both are
 * written.
 */
interface UserMeta {
  userId: string
  age: number
  nickname?: string
}
type AliasMeta = { userId: string; roles: readonly string[] }

declare const connection: Connection<UserMeta>
declare const aliased: Connection<AliasMeta>
declare const handler: EventHandler<UserMeta>
declare const init: UpgradeInit<UserMeta>

function count(of: Hub): number {
  return of.size
}
function greet(to: Connection): boolean {
  return to.sendText('hello')
}

// A user's code: each line compiles.
const hub = new Hub<UserMeta>()
fastify().register(hubPlugin, { hub })
expressHub({ hub })
koaHub({ hub: new Hub<UserMeta>() })
count(hub)
greet(connection)

count(new Hub<AliasMeta>())
greet(aliased)
hub.connections().every(greet)
export const cluster: Cluster = hub.cluster
export const metadata: MetadataMap<Metadata> = connection.metadata
export const general: EventHandler = handler
export const generalInit: UpgradeInit = init
/** A helper without knowledge of the metadata serves a typed route. */
export const greeter: EventHandler = { onOpen: (conn) => conn.sendText('hello') }
export const typedGreeter: EventHandler<UserMeta> = greeter
/** A hub without a type of its own serves a typed route. */
export const narrowed: Hub<UserMeta> = new Hub()

// The middleware returns the hub that it was given, with its type.
expectTypeOf(expressHub({ hub }).hub).toEqualTypeOf<Hub<UserMeta>>()
expectTypeOf(koaHub({ hub }).hub).toEqualTypeOf<Hub<UserMeta>>()
expectTypeOf(expressHub({ maxConnections: 1 }).hub).toEqualTypeOf<Hub>()
expectTypeOf(koaHub().hub).toEqualTypeOf<Hub>()
// @ts-expect-error another application's metadata
export const foreign: Hub<{ userId: number }> = hub
// @ts-expect-error likewise
export const foreignConnection: Connection<{ userId: number }> = connection
// @ts-expect-error a connection is no hub
count(connection)
