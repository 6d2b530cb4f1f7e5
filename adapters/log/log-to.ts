import type { IncomingMessage } from 'node:http'
import type { Connection, Hub } from 'wshub'
import { checkHub } from '../arguments.ts'
import { HubEvents } from '../observing/hub-events.ts'
import { levelOfClose, levelOfError, levelOfRefusal, levelOfState } from './levels.ts'
import { LineLimit } from './line-limit.ts'
import { checkLogger, type Logger, type LogOptions, readLogOptions } from './log-options.ts'

/**
 * Writes what happens in a hub to a log until the hub is closed: refused upgrades, ends of connections,
 * errors, and changes of the cluster, each with its fields. Of each class of events, such as the refusals of
 * one code, a few lines are written within some time, and then how many were left out.
 * @returns a function that stops it
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function logTo(logger: Logger, hub: Hub<object>, options: LogOptions = {}): () => void {
  checkLogger(logger)
  checkHub(hub, 'logTo')
  const lines = new LineLimit(logger, readLogOptions(options))
  if (hub.state === 'closed') return () => {}
  const { node } = hub.toJSON()
  const events = new HubEvents(hub, 'logTo', () => lines.stop())
  events.on('wshub:upgrade:refused', ({ request, error }) => {
    const { code, status } = error
    lines.write(levelOfRefusal(error), `upgrade refused: ${code}`, () => ({
      node,
      code,
      status,
      reason: error.message,
      path: pathOf(request),
      origin: request.headers.origin,
      remoteAddress: request.socket.remoteAddress,
    }))
  })
  events.on('wshub:close', ({ connection, code, reason, cause }) => {
    lines.write(levelOfClose(cause.reason), `connection closed by ${cause.by}: ${cause.reason}`, () => ({
      node,
      ...fieldsOf(connection),
      code,
      ...(reason === '' ? {} : { reason }),
      openMs: cause.openMs,
      ...(cause.error === undefined ? {} : { err: cause.error }),
    }))
  })
  events.on('wshub:error', ({ connection, error }) => {
    const { level, name } = levelOfError(error)
    lines.write(level, `error: ${name}`, () => ({
      node,
      ...(connection === undefined ? {} : fieldsOf(connection)),
      err: error,
    }))
  })
  events.on('wshub:gap', ({ gap }) => {
    lines.write('warn', 'messages of another node were lost', () => ({ node, gap }))
  })
  events.on('wshub:cluster:state', ({ state }) => {
    lines.write(levelOfState(state), `cluster ${state}`, () => ({ node, state }))
  })
  return () => events.stop()
}

function fieldsOf({ id, remoteAddress }: Connection): object {
  return { connection: id, remoteAddress }
}

/** Returns the path without its query, which may contain a secret. */
function pathOf({ url = '' }: IncomingMessage): string {
  return url.replace(/[?#].*$/s, '').slice(0, 200)
}
