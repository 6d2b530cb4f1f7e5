import { fileURLToPath } from 'node:url'
import { BUILTIN_WEBSOCKET } from '../support/tools.ts'
import { Remote } from './remote.ts'
import { describeClient } from './suite.ts'

const client = fileURLToPath(new URL('node-client.mjs', import.meta.url))
/** This Node, or a newer one that the set-up downloads. */
const node = 'WebSocket' in globalThis ? process.execPath : process.env[BUILTIN_WEBSOCKET.variable]
if (node === undefined) throw new Error('test/support/setup.ts has found no Node with a WebSocket')

describeClient({
  name: 'The WebSocket of Node 22 and later',
  start: async () => Remote.spawn(node, [client, 'builtin']),
  fragments: 'never',
  pings: false,
  compresses: false,
  insistsOnProtocol: true,
  plainClose: 1005,
  goneCode: 1006,
})
