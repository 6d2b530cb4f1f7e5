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

/** Part of the titles of tests that load modules twice, which only vitest can. */
const OF_VITEST = 'of another copy of the package'

/** A difference from Node that the page of a runtime describes, in these words. */
interface Difference {
  readonly says: string
  /** Parts of the titles of the tests that are left out. */
  readonly tests?: readonly string[]
  /** The beginning of the error with which all other tests of it fail. */
  readonly error?: string
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
    ],
  },
  {
    name: 'Deno',
    runtime: deno,
    differences: [
      NO_STACK,
      {
        says: '**no compression**: `enableCompression` is refused with `WSHUB_ERR_INVALID_OPTION`',
        tests: ['the echo example, compressing'],
        error: 'enableCompression is false on Deno, whose zlib can end the process',
      },
      {
        says: '`hub.register` waits without end for a socket that others have filled',
        tests: ["continues after 'a message' that other senders on the socket delay"],
      },
    ],
  },
] as const satisfies readonly { name: string; runtime: unknown; differences: readonly Difference[] }[]

/** A line of `run-suite.ts` about a test. */
interface Result {
  readonly name: string
  readonly state: string
  readonly errors: readonly string[]
}

let runner = ''
let bundles: string[] = []

beforeAll(async () => {
  const [first = '', ...rest] = await bundle(FILES)
  runner = first
  bundles = rest
})

/** Whether a part of a title, or the beginning of an error, accounts for a test that has not passed. */
function explains(cause: string, { name, state, errors }: Result): boolean {
  if (state === 'skip') return name.includes(cause)
  return errors.length > 0 && errors.every((message) => message.startsWith(cause))
}

describe.each(RUNTIMES)('the core of the suite on $name', ({ name, runtime, differences }) => {
  const all: readonly Difference[] = differences
  const causes = [OF_VITEST, ...all.flatMap(({ tests = [], error = [] }) => tests.concat(error))]
  const found = new Set<string>()

  it('differs from Node as its page says', () => {
    const page = readFileSync(join(root, `docs/hosts/${name.toLowerCase()}.md`), 'utf8').replaceAll(
      /\s+/g,
      ' ',
    )
    expect(differences.map(({ says }) => says).filter((says) => !page.includes(says))).toEqual([])
  })

  it.each(FILES)('passes %s', async (file) => {
    const { file: program, args } = runtime()
    const bundled = bundles[FILES.indexOf(file)] ?? ''
    const output = await run(program, [...args, runner, root, bundled, JSON.stringify(causes)], {
      cwd: root,
      withinMs: TEST_MS,
    })
    const lines = output.split('\n').flatMap((line) => (line.startsWith('{"') ? [JSON.parse(line)] : []))
    expect(lines.pop()).toEqual({ isDone: true })
    const results: readonly Result[] = lines
    expect(results.some(({ state }) => state === 'pass')).toBe(true)
    const failed = results.filter((result) => {
      const explained = causes.filter((cause) => explains(cause, result))
      for (const cause of explained) found.add(cause)
      return result.state !== 'pass' && explained.length === 0
    })
    expect(failed).toEqual([])
  })

  it('differs from Node in tests that exist', () => {
    expect([...found].sort()).toEqual([...causes].sort())
  })
})
