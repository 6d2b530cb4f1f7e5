import { mergeConfig } from 'vitest/config'
import shared from './vitest.config.ts'

/** The suites that also run over HTTP/2: `npm run test:http2`. */
const SUITES = [
  'test/adapters/{address,after-upgrade,bearer,goodbye,handshake,init,refusal,server}.test.ts',
  'test/conformance/*.test.ts',
  'test/base/running-handlers.test.ts',
  'test/hub/{audience,diagnostics,hub,leaving,limits,many-rooms,message-limits,shared-window,stats}.test.ts',
  'test/connection/{as-web-socket,callbacks,client-behaviour,close-cause,connection,expiry}.test.ts',
  'test/connection/{flow-control,hub-connection,inflation}.test.ts',
  'test/connection/{iteration,keepalive,metadata,rate-limit,view-sending}.test.ts',
  'test/delivery/{broadcast-faults,delivery-faults,total-buffered}.test.ts',
  'test/delivery/{flush-loop,outbox,outbox-burst,outbox-drops,outgoing-message,write-delay}.test.ts',
]

// Not here: test/delivery/delivery-model, which replaces the sockets of a server of node:http by pipes and
// compares their bytes, and test/connection/close-timeout, whose clients keep their side of a TCP connection
// open: test/http2/hostile.test.ts has such clients, and others that do not read, on streams.

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
  'an earlier request of the same connection',
  'other listeners of the server',
  'its own upgrade listener',
  // A server of HTTP/2 announces WebSockets when it begins to listen, so a hub that comes later is too late.
  'takes upgrades for (Express|Koa)',
  'when it was never attached',
]

/** Tests of sockets that the hub only registers, and of servers or clients that they make: HTTP/1.1 alone. */
const OF_OTHERS = [
  'opened elsewhere',
  '#register',
  'registered',
  'is iterated and paused in the same way',
  'SIGTERM under load',
  'refuses new upgrades',
  'answers 503 with Retry-After to upgrades meanwhile',
  'counts connections, rooms, upgrades and messages',
]

/** Tests that look at the packets and buffers of a TCP connection. */
const OF_TCP = [
  'counts messages that a slow client was not sent',
  'from the middle of a packet',
  'are terminated between its slices', // what is buffered may be in a session already
]

const { projects: _, ...test } = shared.test ?? {}

export default mergeConfig(
  { ...shared, test },
  {
    test: {
      include: SUITES,
      env: { WSHUB_HTTP2: '1' },
      testNamePattern: new RegExp(`^(?!.*(${[...OF_HTTP1, ...OF_OTHERS, ...OF_TCP].join('|')}))`),
    },
  },
)
