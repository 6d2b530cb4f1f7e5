import { type Client, createClient } from 'graphql-ws'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { inTime, Process, Client as RawClient } from './support.ts'

describe('GraphQL', () => {
  // In its own process: the test runner would load a second copy of `graphql`, which rejects the schema of
  // the first.
  const server = new Process('examples/graphql/fastify.ts')
  let url: string
  let clients: Client[] = []

  beforeAll(async () => {
    url = await server.url()
  })
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.dispose()))
    clients = []
  })
  afterAll(() => server.kill('SIGTERM'))

  function connect(): Client {
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      retryAttempts: 0,
    })
    clients.push(client)
    return client
  }

  function next<T>(results: AsyncIterator<T>, what: string): Promise<IteratorResult<T>> {
    return inTime(what, results.next(), () => 'nothing')
  }

  async function ask(client: Client, query: string, variables = {}): Promise<unknown> {
    const { value } = await next(client.iterate({ query, variables }), query)
    return JSON.parse(JSON.stringify(value))
  }

  const post = (client: Client, text: string) =>
    ask(client, 'mutation ($text: String!) { post(text: $text) }', { text })

  /** Subscribes, and returns when the server has the subscription: when the first post arrives. */
  async function subscribe(client: Client) {
    const posts = client.iterate<{ posts: string }>({ query: 'subscription { posts }' })
    const first = next(posts, 'the first post')
    await ask(client, '{ hello }') // requested after the subscription, so answered after it
    await post(client, 'first')
    expect((await first).value).toEqual({ data: { posts: 'first' } })
    return posts
  }

  it('answers a query', async () => {
    expect(await ask(connect(), '{ hello }')).toEqual({ data: { hello: 'Hello!' } })
  })

  it('answers an unknown field with an error', async () => {
    const results = connect().iterate({ query: '{ goodbye }' })
    await expect(next(results, 'the error')).rejects.toMatchObject([
      { message: expect.stringContaining('goodbye') },
    ])
  })

  it('delivers a post of one client to the subscriptions of all', async () => {
    const ada = connect()
    const bob = connect()
    const adasPosts = await subscribe(ada)
    const bobsPosts = await subscribe(bob)
    await next(adasPosts, 'the first post of the other')

    await post(ada, 'How green!')
    for (const posts of [adasPosts, bobsPosts]) {
      const { value } = await next(posts, 'the post')
      expect(value).toEqual({ data: { posts: 'How green!' } })
    }
  })

  it('delivers nothing more to a subscription that has ended, and keeps the connection', async () => {
    const ada = connect()
    const ended = await subscribe(ada)
    await ended.return?.()
    const posts = await subscribe(ada)
    await post(ada, 'marker')
    expect((await next(posts, 'the marker')).value).toEqual({ data: { posts: 'marker' } })
    expect(await next(ended, 'the end')).toEqual({ done: true, value: undefined })
  })

  it('still serves the others when a client vanishes', async () => {
    const ada = connect()
    const bob = connect()
    const posts = await subscribe(ada)
    await subscribe(bob)
    await next(posts, 'the first post of the other')

    bob.terminate()
    await post(ada, 'still here')
    expect((await next(posts, 'the post')).value).toEqual({ data: { posts: 'still here' } })
  })

  it('closes a connection without the GraphQL subprotocol', async () => {
    const stranger = await RawClient.open({ url }, '/graphql')
    expect(await stranger.closed()).toMatch(/^4406/)
  })

  it('closes a connection that sends nonsense', async () => {
    const stranger = await RawClient.open({ url }, '/graphql', {}, ['graphql-transport-ws'])
    stranger.send('nonsense')
    expect(await stranger.closed()).toMatch(/^4400/)
  })
})
