import { HubError, show } from '../base/errors.ts'
import { invalid } from '../base/option-rules.ts'
import { asRooms } from '../base/room-names.ts'
import type { Member } from '../cluster/answer.ts'
import type { Recipients } from '../cluster/local-hub.ts'
import { isConnectionId } from '../cluster/wire/connection-id.ts'
import type { Connection } from '../connection/connection.ts'
import { HubConnection } from '../connection/hub-connection.ts'
import type { HistoryContent } from '../history/history.ts'
import { checkSendOptions, type Payload, payloadBytes, type SendOptions } from '../protocol/message.ts'

/** A connection of this process, a member of the cluster, or the id of one. */
export type ConnectionRef = string | Connection | Member

/** How one message is sent to many. An explicit `undefined` means the default. */
export interface BroadcastOptions extends SendOptions {
  /** Connections that do not receive it, wherever in the cluster they are: one or an array. Default none. */
  except?: ConnectionRef | readonly ConnectionRef[] | undefined
  /**
   * Rooms whose members do not receive it, wherever in the cluster they are: one or an array. Default none.
   */
  exceptRooms?: string | readonly string[] | undefined
  /** Whether only connections of this process receive it. Default false. */
  local?: boolean | undefined
}

/** The connections that receive a broadcast, and whether they include those of other nodes. */
export interface Audience extends Recipients {
  /** Whether only connections of this process belong to it. */
  readonly isLocal: boolean
}

/** How one message is published to a room with a history. An explicit `undefined` means the default. */
export type PublishOptions = Pick<BroadcastOptions, 'key' | 'urgent' | 'except' | 'exceptRooms'>

const PUBLISH_OPTIONS: Required<PublishOptions> = {
  key: undefined,
  urgent: undefined,
  except: undefined,
  exceptRooms: undefined,
}

const BROADCAST_OPTIONS: Required<BroadcastOptions> = {
  key: undefined,
  volatile: undefined,
  urgent: undefined,
  except: undefined,
  exceptRooms: undefined,
  local: undefined,
}

const NONE: readonly never[] = Object.freeze([])

/**
 * Reads the options of a broadcast.
 * @param rooms the union of these rooms; `undefined` = all connections
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION or WSHUB_ERR_INVALID_ROOM
 */
export function readAudience(rooms: readonly string[] | undefined, options: BroadcastOptions = {}): Audience {
  checkSendOptions(options, BROADCAST_OPTIONS)
  const { except, exceptRooms, local = false } = options
  if (typeof local !== 'boolean') throw invalid('local', 'is true or false', local)
  return {
    rooms,
    exceptIds: except === undefined ? NONE : asArray(except).map((one) => idOf('except', one)),
    exceptRooms: exceptRooms === undefined ? NONE : asRooms(exceptRooms),
    isLocal: local,
  }
}

/**
 * Reads the options of a message to a room with a history.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION or WSHUB_ERR_INVALID_ROOM
 */
export function readPublishing(options: PublishOptions | undefined): Audience {
  checkSendOptions(options, PUBLISH_OPTIONS)
  return readAudience(undefined, options)
}

/** Returns a message as the history of a room keeps it. */
export function contentOf(
  data: Payload,
  { exceptIds, exceptRooms }: Pick<Audience, 'exceptIds' | 'exceptRooms'>,
  options: SendOptions | undefined,
): HistoryContent {
  const content = typeof data === 'string' ? data : payloadBytes(data)
  return { data: content, key: options?.key, urgent: options?.urgent, exceptIds, exceptRooms }
}

/** Returns the same audience without one more connection. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function without(audience: Audience, except: ConnectionRef): Audience {
  return { ...audience, exceptIds: [idOf('except', except), ...audience.exceptIds] }
}

/**
 * Returns the id of a connection that is passed as an object or by its id.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when it cannot be an id: it would silently exclude nobody
 */
export function idOf(key: string, ref: unknown): string {
  const id: unknown = typeof ref === 'object' && ref !== null && 'id' in ref ? ref.id : ref
  if (typeof id === 'string' && isConnectionId(id)) return id
  const hint = Array.isArray(ref) ? '; the option except takes several' : ''
  throw new HubError(
    'WSHUB_ERR_INVALID_OPTION',
    `${key} is a connection or the id of one, not ${show(ref)}${hint}`,
  )
}

/** Returns a list without holes, which `map` would skip. */
function asArray<Item>(items: Item | readonly Item[]): Item[] {
  return Array.isArray(items) ? [...items] : [items as Item] // `isArray` does not narrow to a readonly array
}

/** @throws {HubError} WSHUB_ERR_FOREIGN_CONNECTION for anything but a connection of the hub */
export function checkOwn(hub: Connection['hub'], connection: unknown): void {
  const isConnection = HubConnection.is(connection)
  if (isConnection && connection.hub === hub) return
  throw new HubError(
    'WSHUB_ERR_FOREIGN_CONNECTION',
    typeof connection === 'string'
      ? `you passed the string ${show(connection)} instead of a connection: hub.getConnection(id) finds it in this process, hub.cluster.join and hub.cluster.leave take { id }`
      : isConnection
        ? 'the connection belongs to another hub'
        : `a connection of this hub is expected, not ${show(connection)}`,
  )
}
