import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { root, run } from '../package/support.ts'
import { TEST_MS } from '../support/in-time.ts'
import { bundle } from './runtime/bundle.ts'
import { bun, deno } from './runtimes.ts'

/** The core of the suite: files that measure no memory, start no process, and replace no clock. */
const FILES = [
  'conformance/close',
  'conformance/compression',
  'conformance/echo',
  'conformance/fragmentation',
  'conformance/framing',
  'conformance/ping',
  'conformance/text',
  'adapters/address',
  'adapters/after-upgrade',
  'adapters/fetch-hosts',
  'adapters/goodbye',
  'adapters/handshake',
  'adapters/init',
  'adapters/middleware',
  'adapters/refusal',
  'connection/as-web-socket',
  'connection/callbacks',
  'connection/client-behaviour',
  'connection/close-cause',
  'delivery/delivery-faults',
  'history/ending',
  'history/memory-history',
  'history/resume',
  'history/room-log',
  'hub/audience',
  'hub/hub',
  'hub/limits',
  'hub/message-limits',
  'presence/cluster',
  'presence/load',
].map((name) => `test/${name}.test.ts`)

/** A difference from Node that the page of a runtime describes, in these words. */
interface Difference {
  readonly says: string
  /** Parts of the titles of the tests that are left out. */
  readonly tests: readonly string[]
}

const NO_STACK: Difference = {
  says: 'a warning about an error that no `onError` receives has no stack of its own',
  tests: ['causes a process warning with stack, connection and path'],
}

const RUNTIMES = [
  {
    name: 'Bun',
    runtime: bun,
    differences: [
      NO_STACK,
      {
        says: 'a client that disconnects while its compressed message is inflated is noticed at the next ping',
        tests: ['a client that disconnects while its message is inflated harms nobody'],
      },
      {
        says: 'a handshake behind a request that is still being answered, in one packet, is not answered',
        tests: ['never answers before an earlier request of the same connection'],
      },
      {
        says: '`limits.upgradeTimeoutMs` does not cut off an answer that has begun',
        tests: ['cuts off an answer that has begun'],
      },
      {
        says: 'a request that asks for another protocol, such as `Upgrade: h2c`, is not answered',
        tests: ['{"Upgrade":"websockets"}', '{"Upgrade":"x-websocket"}'],
      },
      {
        says: 'changes of presence may be missing when a user moves to another node',
        tests: [
          'tells of no change when a user moves to another node within the grace',
          'hands the members of a node that closes over in silence',
        ],
      },
    ],
  },
  {
    name: 'Deno',
    runtime: deno,
    differences: [
      NO_STACK,
      {
        says: '**Leave compression off**: a client that disconnects while its message is inflated ends the process',
        tests: ['with enableCompression.window'],
      },
      {
        says: '`hub.register` waits without end for a socket that others have filled',
        tests: ["continues after 'a message' that other senders on the socket delay"],
      },
    ],
  },
] as const satisfies readonly { name: string; runtime: unknown; differences: readonly Difference[] }[]

let runner = ''
let bundles: string[] = []

beforeAll(async () => {
  const [first = '', ...rest] = await bundle(FILES)
  runner = first
  bundles = rest
})

describe.each(RUNTIMES)('the core of the suite on $name', ({ name, runtime, differences }) => {
  it('differs from Node as its page says', () => {
    const page = readFileSync(join(root, `docs/hosts/${name.toLowerCase()}.md`), 'utf8').replaceAll(
      /\s+/g,
      ' ',
    )
    expect(differences.map(({ says }) => says).filter((says) => !page.includes(says))).toEqual([])
  })

  it.each(FILES)('passes %s', async (file) => {
    const { file: program, args } = runtime()
    const left = JSON.stringify(differences.flatMap(({ tests }) => [...tests]))
    const bundled = bundles[FILES.indexOf(file)] ?? ''
    const output = await run(program, [...args, runner, root, bundled, left], {
      cwd: root,
      withinMs: TEST_MS,
    })
    const results = output.split('\n').flatMap((line) => (line.startsWith('{"') ? [JSON.parse(line)] : []))
    expect(results.filter(({ state }) => state === 'fail')).toEqual([])
    expect(results.at(-1)).toEqual({ isDone: true })
  })
})
