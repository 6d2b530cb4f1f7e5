import { fileURLToPath } from 'node:url'
import { Remote } from './remote.ts'
import { describeClient } from './suite.ts'

const client = fileURLToPath(new URL('node-client.mjs', import.meta.url))

describeClient({
  name: 'undici',
  start: async () => Remote.spawn(process.execPath, [client, 'undici']),
  fragments: 'never',
  pings: true,
  compresses: false,
  insistsOnProtocol: true,
  plainClose: 1005,
  goneCode: 1006,
})
