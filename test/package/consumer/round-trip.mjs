// The round trip that esm.mjs and commonjs.cjs make with the package they have loaded: a message there and
// back through every mount.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'

const echo = { onMessage: (connection, message) => void connection.sendText(message.data) }

/** The errors of a route, as each framework's users would see them. */
const refused = (error) => assert.equal(error.code, 'WSHUB_ERR_NOT_UPGRADE')

export async function roundTrips({ core, adapters, frameworks, WebSocket, testing }) {
  const { Hub } = core
  const listen = async (server) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return server
  }
  const closeBoth = (hub, server) => async () => {
    await hub.close()
    server.close()
    await once(server, 'close')
  }

  const mounts = {
    async http() {
      const hub = new Hub()
      const server = createServer((req) => void hub.upgrade(req, echo))
      hub.attach(server)
      await listen(server)
      return { app: server, hub, port: server.address().port, close: closeBoth(hub, server) }
    },
    async express() {
      const app = frameworks.express()
      const mount = adapters.express.wsHub()
      app.use(mount)
      app.get('/', (req, res) => {
        assert.equal(req.hub, mount.hub)
        return res.upgradeWebSocket(echo)
      })
      app.use((error, _req, res, _next) => {
        refused(error)
        res.sendStatus(error.status)
      })
      const server = await listen(createServer(app))
      return { app, hub: mount.hub, port: server.address().port, close: closeBoth(mount.hub, server) }
    },
    async koa() {
      const app = new frameworks.Koa()
      const mount = adapters.koa.wsHub()
      app.on('error', refused)
      app.use(mount)
      app.use((ctx) => {
        assert.equal(ctx.hub, mount.hub)
        return ctx.upgradeWebSocket(echo)
      })
      const server = await listen(createServer(app.callback()))
      return { app, hub: mount.hub, port: server.address().port, close: closeBoth(mount.hub, server) }
    },
    async fastify() {
      const app = frameworks.fastify()
      await app.register(adapters.fastify.hubPlugin)
      app.get('/', (_req, reply) => reply.upgradeWebSocket(echo))
      await app.listen({ port: 0, host: '127.0.0.1' })
      return { app, hub: app.hub, port: app.server.address().port, close: () => app.close() }
    },
  }

  const answers = {}
  for (const [name, mount] of Object.entries(mounts)) {
    const { app, hub, port, close } = await mount()
    assert.ok(hub instanceof Hub, `the hub of ${name} is of another copy of the core`)
    if (name !== 'http') {
      const response = await fetch(`http://127.0.0.1:${port}/`)
      assert.equal(response.status, 426)
    }
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
    await once(socket, 'open')
    socket.send(`hello, ${name}`)
    const [data] = await once(socket, 'message')
    answers[name] = data.toString()
    const client = await testing.connect(app, '/')
    client.send('without a port')
    assert.deepEqual(await client.next(), { type: 'text', data: 'without a port' })
    const closed = once(socket, 'close')
    await close()
    const [code] = await closed
    assert.equal(code, 1001)
    assert.equal((await client.closed).code, 1001)
  }
  return answers
}

/** The sorted names that a module exports; `default` must be the one other value. */
export function namesOf(module, main) {
  if (main !== undefined) assert.equal(module.default, module[main])
  return Object.keys(module).sort()
}
