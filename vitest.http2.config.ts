import { mergeConfig } from 'vitest/config'
import shared from './vitest.config.ts'

/** The suites that also run over HTTP/2: `npm run test:http2`. */
const SUITES = [
  'test/adapters/{address,after-upgrade,bearer,goodbye,handshake,init,refusal,server}.test.ts',
  'test/conformance/*.test.ts',
]

/** What only HTTP/1.1 has: requests in a row, and the headers that make one of them an upgrade. */
const OF_HTTP1 = [
  'on a TCP connection that has served HTTP',
  'to incomplete upgrade headers',
  "405 to 'a POST'",
  'a POST with a body',
  'a missing key',
  '426 with Upgrade: websocket to a plain GET',
  'when the hub is closed',
  'still answers ordinary requests',
]

const { projects: _, ...test } = shared.test ?? {}

export default mergeConfig(
  { ...shared, test },
  {
    test: {
      include: SUITES,
      env: { WSHUB_HTTP2: '1' },
      testNamePattern: new RegExp(`^(?!.*(${OF_HTTP1.join('|')}))`),
    },
  },
)
