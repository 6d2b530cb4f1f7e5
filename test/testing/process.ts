// Run by a test: says hello and comes to its end, whereupon the process ends if nothing keeps it.
import express from 'express'
import { wsHub } from 'wshub/express'
import { connect } from 'wshub/testing'

const app = express()
app.use(wsHub())
app.get('/', (_req, res) => {
  // Nothing but the wait of the client keeps the process until then: it must.
  res.upgradeWebSocket({ onOpen: (conn) => void setTimeout(() => conn.sendText('hello'), 100).unref() })
})

const client = await connect(app, '/')
console.log((await client.next()).data)

if (process.argv[2] === 'a paused client') client.pause()
if (process.argv[2] === 'no client') await client.close()
