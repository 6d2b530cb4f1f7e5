import { fileURLToPath } from 'node:url'
import { toolPath } from '../support/tools.ts'
import { Remote } from './remote.ts'
import { describeClient } from './suite.ts'

const client = fileURLToPath(new URL('websockets-client.py', import.meta.url))

describeClient({
  name: "Python's websockets",
  start: async () => Remote.spawn(toolPath('python'), [client]),
  fragments: 'whenTold',
  pings: true,
  compresses: true,
  insistsOnProtocol: false,
  plainClose: 1000,
  goneCode: 1006,
})
