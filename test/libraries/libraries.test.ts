import { once } from 'node:events'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { createClient } from 'graphql-ws'
import { JSONRPCClient, JSONRPCServer, JSONRPCServerAndClient } from 'json-rpc-2.0'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createWebSocketConnection, toSocket } from 'vscode-ws-jsonrpc'
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import { Doc } from 'yjs'
import { PagePrograms } from '../docs/page-program.ts'
import { Journal } from '../support/hub-server.ts'
import { inTime, until } from '../support/in-time.ts'

describe('the servers of docs/libraries.md', () => {
  let programs: PagePrograms

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/libraries.md')
  })

  afterEach(() => programs.stopAll())
  afterAll(() => programs.remove())

  /** Starts a server, and returns its address. */
  async function start(name: string): Promise<string> {
    const url = await programs.run(name).line()
    return url.replace(/^http/, 'ws')
  }

  it('answer a tRPC mutation, and stream a subscription', async () => {
    const url = await start('trpc.mjs')
    const ada = trpcClient(`${url}/trpc/ada`)
    const bob = trpcClient(`${url}/trpc/bob`)
    const seen = new Journal<string>()
    const started = new Journal<string>()
    const subscription = bob.posts.subscribe(undefined, {
      onStarted: () => started.push('started'),
      onData: (post) => seen.push(post),
      onError: (error) => seen.push(error.message),
    })
    await started.first('the subscription', () => true)
    await ada.post.mutate('hello')
    await ada.post.mutate('again')
    await seen.until('two posts', ({ length }) => length === 2)
    expect(seen.all).toEqual(['ada: hello', 'ada: again'])
    subscription.unsubscribe()
  })

  it('bring two Yjs documents together', async () => {
    const url = await start('yjs.mjs')
    const [ada, bob] = [new Doc(), new Doc()]
    const providers = [ada, bob].map((doc) => {
      // The client of Node has its own type of WebSocket.
      const WebSocketPolyfill = WebSocket as unknown as typeof globalThis.WebSocket
      const provider = new WebsocketProvider(`${url}/docs`, 'report', doc, {
        WebSocketPolyfill,
        disableBc: true,
      })
      onTestFinished(() => provider.destroy())
      return provider
    })
    ada.getText().insert(0, 'written by Ada')
    await until(
      'the text of Ada',
      () => bob.getText().toString() === 'written by Ada',
      () => bob.toJSON(),
    )
    bob.getText().insert(0, 'not ')
    await until(
      'the text of Bob',
      () => ada.getText().toString() === 'not written by Ada',
      () => ada.toJSON(),
    )
    providers[0]?.awareness.setLocalState({ cursor: 7 })
    const states = () => [...(providers[1]?.awareness.getStates().values() ?? [])]
    await until('the cursor', () => states().some(({ cursor }) => cursor === 7), states)
    providers[0]?.disconnect()
    await until('the cursor to go', () => !states().some(({ cursor }) => cursor === 7), states)
  })

  it('bring two documents of Hocuspocus together, and refuse a wrong token', async () => {
    const url = `${await start('hocuspocus.mjs')}/collaboration`
    const failures = new Journal<string>()
    const open = (document: Doc, token: string) => {
      const websocketProvider = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket })
      const provider = new HocuspocusProvider({
        websocketProvider,
        name: 'report',
        document,
        token,
        onAuthenticationFailed: ({ reason }) => failures.push(reason),
      })
      provider.attach()
      onTestFinished(() => {
        provider.destroy()
        websocketProvider.destroy()
      })
    }
    const [ada, bob] = [new Doc(), new Doc()]
    open(ada, 'secret')
    open(bob, 'secret')
    ada.getMap().set('title', 'by Ada')
    await until(
      'the title',
      () => bob.getMap().get('title') === 'by Ada',
      () => bob.toJSON(),
    )
    bob.getMap().set('title', 'by Bob')
    await until(
      'the new title',
      () => ada.getMap().get('title') === 'by Bob',
      () => ada.toJSON(),
    )
    open(new Doc(), 'wrong')
    await failures.first('the refusal', () => true)
  })

  it('answer a query of GraphQL, and stream a subscription', async () => {
    const url = `${await start('graphql.mjs')}/graphql`
    const client = createClient({ url, webSocketImpl: WebSocket, keepAlive: 100 })
    onTestFinished(() => client.dispose())
    const posts = client.iterate<{ posts: string }>({ query: 'subscription { posts }' })
    const first = posts.next()
    const post = `query { post(text: "hello") }`
    let isDone = false
    void first.then(() => {
      isDone = true
    })
    // A subscription does not say when it has begun.
    await until('a post', async () => {
      const answer = client.iterate({ query: post })
      expect((await answer.next()).value).toEqual({ data: { post: null } })
      await answer.return?.()
      return isDone
    })
    expect((await first).value).toEqual({ data: { posts: 'hello' } })
    await posts.return?.()
    await client.dispose() // before the server ends: it would connect again
  })

  it('call the client, and are called by it: vscode-ws-jsonrpc', async () => {
    const url = `${await start('json-rpc.mjs')}/vscode-ws-jsonrpc`
    const socket = new WebSocket(url)
    onTestFinished(() => socket.terminate())
    await inTime('the client to open', once(socket, 'open'))
    // It has the members of a browser's that the library uses.
    const browserSocket = socket as unknown as Parameters<typeof toSocket>[0]
    const rpc = createWebSocketConnection(toSocket(browserSocket), console)
    rpc.onRequest('name', () => 'Ada')
    rpc.listen()
    expect(await inTime('the answer', rpc.sendRequest('greet'))).toBe('hello, Ada')
    rpc.dispose()
  })

  it('call the client, and are called by it: json-rpc-2.0', async () => {
    const url = `${await start('json-rpc.mjs')}/json-rpc-2.0`
    const socket = new WebSocket(url)
    onTestFinished(() => socket.terminate())
    await inTime('the client to open', once(socket, 'open'))
    const client = new JSONRPCClient((request) => socket.send(JSON.stringify(request)))
    const rpc = new JSONRPCServerAndClient(new JSONRPCServer(), client)
    rpc.addMethod('name', () => 'Bob')
    socket.on('message', (data) => void rpc.receiveAndSend(JSON.parse(String(data))))
    expect(await inTime('the answer', Promise.resolve(rpc.request('greet', {})))).toBe('hello, Bob')
  })
})

/** The calls of the router, which the page writes in JavaScript. */
interface Posts {
  readonly post: { mutate(text: string): Promise<void> }
  readonly posts: {
    subscribe(
      input: undefined,
      listener: { onStarted(): void; onData(post: string): void; onError(error: Error): void },
    ): { unsubscribe(): void }
  }
}

function trpcClient(url: string): Posts {
  // The constructor of ws takes more kinds of addresses than that of a browser.
  const client = createWSClient({ url, WebSocket: WebSocket as unknown as typeof globalThis.WebSocket })
  onTestFinished(() => client.close())
  return createTRPCClient({ links: [wsLink({ client })] }) as unknown as Posts // of a router without types
}
