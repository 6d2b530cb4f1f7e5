import { EventEmitter, on } from 'node:events'
import fastify from 'fastify'
import { GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { GRAPHQL_TRANSPORT_WS_PROTOCOL } from 'graphql-ws'
import { hubPlugin } from 'wshub/fastify'
import { type Address, runIfMain, running } from '../run.ts'
import { graphqlHandler } from './handler.ts'

/** `mutation { post(text: "…") }` reaches everybody's `subscription { posts }`. */
function postsSchema() {
  const posts = new EventEmitter()
  posts.setMaxListeners(0) // one listener for each subscription
  const text = { type: new GraphQLNonNull(GraphQLString) }

  return new GraphQLSchema({
    query: new GraphQLObjectType({
      name: 'Query',
      fields: { hello: { ...text, resolve: () => 'Hello!' } },
    }),
    mutation: new GraphQLObjectType({
      name: 'Mutation',
      fields: {
        post: {
          ...text,
          args: { text },
          resolve: (_source, args: { text: string }) => {
            posts.emit('post', args.text)
            return args.text
          },
        },
      },
    }),
    subscription: new GraphQLObjectType({
      name: 'Subscription',
      fields: {
        posts: { ...text, subscribe: () => on(posts, 'post'), resolve: ([post]: [string]) => post },
      },
    }),
  })
}

export async function start(address: Address) {
  const app = fastify()
  await app.register(hubPlugin, { protocols: [GRAPHQL_TRANSPORT_WS_PROTOCOL] })

  const handler = graphqlHandler({ schema: postsSchema() })
  app.get('/graphql', (_request, reply) => reply.upgradeWebSocket(handler))

  await app.listen(address)
  return running(app.server, app.hub, () => app.close())
}

await runIfMain(import.meta.url, 8080, start)
