import { once } from 'node:events'
import { connect } from 'node:http2'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Frame, Opcode } from 'wshub'
import { inTime } from '../support/hub-server.ts'
import { haproxy } from './makes.ts'
import { application, describeGracefulReload, describeIdleTimeout, describeProxy } from './suite.ts'
import { RunningProxy } from './support.ts'

describeProxy(haproxy)
describeIdleTimeout(haproxy)
describeGracefulReload(haproxy)

describe('HTTP/2 to HAProxy', () => {
  it('carries WebSockets (RFC 8441), which reach the application as ordinary upgrades', async () => {
    const app = await application()
    const proxy = await RunningProxy.start(haproxy, { app: app.port })
    const session = connect(proxy.origin, { ...proxy.tls, host: '127.0.0.1' })
    onTestFinished(() => session.destroy())
    const [settings] = await inTime(
      'the settings',
      once(session, 'remoteSettings'),
      () => session.remoteSettings,
    )
    expect(settings).toMatchObject({ enableConnectProtocol: true })

    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/',
      'sec-websocket-version': '13',
      origin: proxy.origin,
    })
    const [headers] = await inTime('the answer', once(stream, 'response'), () => app.requests)
    expect(headers).toMatchObject({ ':status': 200 })
    stream.write(new Frame({ opcode: Opcode.text, masked: true, payload: Buffer.from('hello') }).encode())
    const [data] = await inTime('the echo', once(stream, 'data'), () => app.log.all)
    expect(Frame.decode(data)?.frame.payload.toString()).toBe('hello')
  })
})
