import { Primary } from '../support/primary.ts'
import { HUB_PROCESS, RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

let primary: Primary
/** A small buffer for a worker that does not read. */
const serve = () => primary.call('serve', { maxPendingBytes: 1_048_576 })

engineSuite('several workers of node:cluster', {
  async start() {
    primary = await Primary.start(HUB_PROCESS)
    await serve()
  },
  stop: () => primary?.stop(),
  launch: () => RemoteHub.of(primary),
  areProcesses: true,
  outages: {
    'is not served, and served again': { begin: () => primary.call('stop'), end: serve, hits: 'all' },
    'stops for a while': {
      begin: () => primary.signal('SIGSTOP'),
      end: () => primary.signal('SIGCONT'),
      hits: 'none',
    },
  },
})
