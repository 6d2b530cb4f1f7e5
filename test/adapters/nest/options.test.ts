import { WebSocketGateway } from '@nestjs/websockets'
import { afterEach, describe, expect, it } from 'vitest'
import { Hub, type HubError } from 'wshub'
import type { GatewayOptions, HubAdapterOptions } from 'wshub/nest'
import { closeNest, makeNest } from './application.ts'
import { decorate, gateway } from './decorations.ts'

afterEach(closeNest)

const platform = 'Express'

/** Returns the error of a promise that must reject. */
async function errorOf(promise: Promise<unknown>): Promise<HubError> {
  return promise.then(
    () => {
      throw new Error('Waited for a rejection, saw none')
    },
    (error) => error,
  )
}

describe('The options of a HubAdapter', () => {
  it.each<[string, object]>([
    ['"upgrad" is not an option of a hub', { upgrad: () => {} }],
    ['upgrade is a function, not 7', { upgrade: 7 }],
    ['upgrade is a function, not an object', { upgrade: Object.create(null) }], // String throws for it
    ['parse is a function, not "json"', { parse: 'json' }],
    ['format is a function, not null', { format: null }],
    ['maxPendingMessages is an integer of 1 or more, not 0', { maxPendingMessages: 0 }],
    ['maxStreams is an integer of 1 or more, not 1.5', { maxStreams: 1.5 }],
    ['maxStreams is an integer of 1 or more, not an object', { maxStreams: Object.create(null) }],
    ['"timeout" is not an option of close', { close: { timeout: 1 } }],
    ['"close" has no effect beside { hub }', { hub: new Hub(), close: { code: 4000 } }],
    ['"close" has no effect beside { hub }', { parse: JSON.parse, hub: new Hub(), close: { code: 4000 } }],
    ['"maxConnections" has no effect beside { hub }', { hub: new Hub(), maxConnections: 1 }],
  ])('are refused: %s', async (message, options) => {
    const error = await errorOf(
      makeNest({ platform, providers: [], adapter: options as HubAdapterOptions }), // wrong in JavaScript
    )
    expect(error.code).toBe('WSHUB_ERR_INVALID_OPTION')
    expect(error.message).toContain(message)
  })

  it('take undefined for a default, and those of the hub beside its own', async () => {
    const { hub } = await makeNest({
      platform,
      providers: [],
      adapter: {
        upgrade: undefined,
        parse: undefined,
        maxStreams: undefined,
        hub: undefined,
        maxConnections: 7,
      },
    })
    expect(hub.options.maxConnections).toBe(7)
  })
})

describe('The options of a gateway', () => {
  const init = async (...classes: ReturnType<typeof gateway>[]) => {
    const { app } = await makeNest({ platform, providers: classes })
    return errorOf(app.init())
  }

  it.each<[string, object]>([
    ['"cors" is not an option of a gateway on a hub: Chat', { cors: true }],
    ['"upgrad" is not an option of a gateway on a hub: Chat; did you mean "upgrade"?', { upgrad: () => {} }],
    ['the path of a gateway is a path without parameters, not "/chat/:room"', { path: '/chat/:room' }],
    ['the path of a gateway is a path without parameters, not an object', { path: /^x/ }],
    ['the path of a gateway is a path without parameters, not "/chat?a"', { path: '/chat?a' }],
    ['the namespace of a gateway is a path without parameters, not an object', { namespace: /a/ }],
    ['upgrade of Chat is a function, not 7', { upgrade: 7 }],
  ])('are refused when the application starts: %s', async (message, options) => {
    const error = await init(gateway(options as GatewayOptions, class Chat {})) // wrong in JavaScript
    expect(error.code).toBe('WSHUB_ERR_INVALID_OPTION')
    expect(error.message).toContain(message)
  })

  it('are refused with a port', async () => {
    const error = await init(decorate(class Chat {}, { class: [WebSocketGateway(8080)] }))
    expect(error.message).toBe("Chat asks for port 8080: a hub is served on the application's own")
  })

  it('are refused when another gateway of the path has another upgrade, which would not run', async () => {
    const open = gateway({ path: '/chat' }, class Open {})
    const guarded = gateway({ path: 'chat/', upgrade: () => undefined }, class Guarded {})
    const error = await init(open, guarded)
    expect(error.code).toBe('WSHUB_ERR_INVALID_OPTION')
    expect(error.message).toBe(
      'the gateways at /chat must have the same `upgrade`: it runs once for all of them',
    )
  })

  it('are refused with a class as upgrade that has no such method', async () => {
    class Mistaken {}
    const error = await init(gateway({ upgrade: Mistaken as never }, class Chat {})) // wrong in JavaScript
    expect(error.code).toBe('WSHUB_ERR_INVALID_OPTION')
    expect(error.message).toBe('Mistaken has no method upgrade')
  })

  it('may have an upgrade that is a provider of no module: the application does not start', async () => {
    class Unknown {
      upgrade() {
        return undefined
      }
    }
    expect((await init(gateway({ upgrade: Unknown }, class Chat {}))).message).toMatch(/Unknown/)
  })
})
