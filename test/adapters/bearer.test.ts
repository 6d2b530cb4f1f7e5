import { afterEach, describe, expect, it } from 'vitest'
import { Handshake } from 'wshub'
import { destroyClients, RawClient } from '../support/raw.ts'
import { closeApps, echo, frameworks } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

describe.each(frameworks)('A bearer token for $name', ({ start }) => {
  it.each([
    ['in a subprotocol', { 'Sec-WebSocket-Protocol': 'bearer.s3cr.et, chat' }, 'chat', undefined],
    ['in the only subprotocol', { 'Sec-WebSocket-Protocol': 'bearer.s3cr.et' }, undefined, undefined],
    [
      'that the route chooses',
      { 'Sec-WebSocket-Protocol': 'chat, bearer.s3cr.et' },
      undefined,
      'bearer.s3cr.et',
    ],
    ['in Authorization', { Authorization: 'Bearer s3cr.et' }, undefined, undefined],
  ])('in %s is read by the route and never echoed', async (_where, headers, chosen, protocol) => {
    const tokens: (string | undefined)[] = []
    const app = await start({
      hub: { protocols: ['bearer.s3cr.et', 'chat'] },
      routes: {
        '/ws': (exchange) => {
          tokens.push(Handshake.bearerToken(exchange.req))
          return exchange.upgrade(echo, protocol === undefined ? {} : { protocol })
        },
      },
    })
    const client = await RawClient.ask(app, '/ws', { headers })
    const answer = await client.opened()
    expect(tokens).toEqual(['s3cr.et'])
    expect(answer.header('sec-websocket-protocol')).toBe(chosen)
    expect(answer.head).not.toContain('s3cr.et')
    await client.echoes()
  })
})
