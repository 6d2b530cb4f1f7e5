import { HubError, show } from '../base/errors.ts'
import { asRooms } from '../base/room-names.ts'
import type { Selection } from './wire/request.ts'

/** Selects connections of the cluster: some by their ids, the members of rooms, or all. */
export type Selector =
  | { readonly id: string | readonly string[] }
  | { readonly room: string | readonly string[] }
  | { readonly all: true }

/** Reads a selector. @throws {HubError} WSHUB_ERR_INVALID_SELECTOR or WSHUB_ERR_INVALID_ROOM */
export function readSelector(selector: Selector): Selection {
  if (typeof selector === 'object' && selector !== null && Object.keys(selector).length === 1) {
    if ('all' in selector && selector.all === true) return { by: 'all', names: [] }
    if ('room' in selector) return { by: 'room', names: asRooms(selector.room) }
    if ('id' in selector) {
      const names: unknown = typeof selector.id === 'string' ? [selector.id] : selector.id
      if (Array.isArray(names) && [...names].every((id) => typeof id === 'string')) return { by: 'id', names }
    }
  }
  throw new HubError(
    'WSHUB_ERR_INVALID_SELECTOR',
    `a selector must be { id }, { room } or { all: true }, not ${show(selector)}`,
  )
}
