import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { type Inspector, inspector } from 'wshub/inspector'
import { Http2Client } from '../support/http2-client.ts'
import { serve } from './served.ts'

it('An inspector serves its page and its WebSocket over HTTP/2, to pages of its own origin', async () => {
  let route: Inspector | undefined
  const served = await serve({ allowedOrigins: ['*'] }, undefined, {
    before: (req, res) => {
      void route?.(req, res)
      return true
    },
  })
  route = inspector(served.hub, { authorize: () => true })
  const client = await Http2Client.connect(served)
  const got = client.session.request({ ':path': '/hub' }) // StreamClient takes what follows a 200 for frames
  const [headers] = await once(got, 'response')
  expect(headers).toMatchObject({ ':status': 200, 'x-frame-options': 'DENY' })
  expect(await text(got)).toContain('<h1>wshub inspector</h1>')
  const foreign = await client.request('/hub', { origin: 'https://evil.example' }).refused()
  expect(foreign.status).toBe(403)
  const page = await client.open('/hub', { origin: 'https://localhost' })
  page.send(JSON.stringify({ type: 'view', token: 't', query: {}, follow: null }))
  const { payload } = await page.frame()
  expect(JSON.parse(payload.toString())).toMatchObject({ token: 't', nodes: [{ connections: 1 }] })
})
