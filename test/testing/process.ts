// Run by a test: sends a greeting and reaches its end, after which the process ends if nothing keeps it
// alive.
import express from 'express'
import { wsHub } from 'wshub/express'
import { connect } from 'wshub/testing'

const app = express()
app.use(wsHub())
app.get('/', (_req, res) => {
  // Only the wait of the client keeps the process alive until then.
  res.upgradeWebSocket({ onOpen: (conn) => void setTimeout(() => conn.sendText('hello'), 100).unref() })
})

const client = await connect(app, '/')
console.log((await client.next()).data)

if (process.argv[2] === 'a paused client') client.pause()
if (process.argv[2] === 'no client') await client.close()
