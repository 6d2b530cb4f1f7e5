import { HubError, show } from './errors.ts'

/** Returns one room or several as an array. @throws {HubError} WSHUB_ERR_INVALID_ROOM */
export function asRooms(room: string | readonly string[]): readonly string[] {
  const rooms = typeof room === 'string' ? [room] : room
  if (Array.isArray(rooms) && [...rooms].every(isName)) return rooms
  throw new HubError(
    'WSHUB_ERR_INVALID_ROOM',
    `a room is a non-empty string, or an array of them, not ${show(room)}`,
  )
}

/** Returns one room. @throws {HubError} WSHUB_ERR_INVALID_ROOM */
export function asRoom(room: string): string {
  if (isName(room)) return room
  throw new HubError('WSHUB_ERR_INVALID_ROOM', `a room is a non-empty string here, not ${show(room)}`)
}

function isName(name: unknown): boolean {
  return typeof name === 'string' && name !== ''
}
