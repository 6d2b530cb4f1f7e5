import { once } from 'node:events'
import { Agent, WebSocket as UndiciWebSocket } from 'undici'
import { describe, expect, it } from 'vitest'
import { echo } from '../adapters/frameworks.ts'
import { launchChromium } from '../support/chromium.ts'
import { Firefox } from '../support/firefox.ts'
import { Journal } from '../support/hub-server.ts'
import { inTime } from '../support/raw.ts'
import { type Served, serve } from './served.ts'

/** The WebSockets of a page. */
const SOCKETS = 100

/** Opens that many WebSockets in a page, has each echo a short and a long message, and closes them. */
const PROGRAM = `Promise.all(Array.from({ length: ${SOCKETS} }, (_, index) => new Promise((done, fail) => {
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws', ['chat'])
  const long = index + ' ' + 'x'.repeat(70_000)
  const received = []
  socket.onopen = () => { socket.send('short'); socket.send(long) }
  socket.onerror = () => fail(new Error('socket ' + index))
  socket.onmessage = ({ data }) => {
    received.push(data === long ? 'long' : data)
    if (received.length === 2) socket.close(4000 + index)
  }
  socket.onclose = ({ code }) => done([code - index, socket.protocol, ...received].join())
}))).then((ends) => [...new Set(ends)].join(' | '))`

/** A page over TLS, and the ends of its connections. */
async function servePage(): Promise<Served & { closes: Journal<number> }> {
  const closes = new Journal<number>()
  const served = await serve(
    { protocols: ['chat'], maxMessageSize: 100_000, enableCompression: true },
    { ...echo, onClose: (_connection, code) => closes.push(code) },
    {
      secure: true,
      before: (req, res) => {
        if (req.url === '/ws') return false
        res.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>a page</title>')
        return true
      },
    },
  )
  return { ...served, closes }
}

/** Expects that all WebSockets came as streams of one session, and that the hub saw each close. */
async function expectStreams(
  { server, requests, closes }: Served & { closes: Journal<number> },
  sessions: number,
) {
  const upgrades = requests.filter(({ url }) => url === '/ws')
  expect(upgrades.map(({ httpVersion }) => httpVersion)).toEqual(Array(SOCKETS).fill('2.0'))
  await closes.until('all to close', (all) => all.length === SOCKETS)
  expect(closes.all.toSorted()).toEqual(Array.from({ length: SOCKETS }, (_, index) => 4_000 + index))
  expect(sessions).toBe(1)
  expect(server.listening).toBe(true)
}

function countSessions({ server }: Served): { count: number } {
  const sessions = { count: 0 }
  server.on('session', () => sessions.count++)
  return sessions
}

describe('A page over HTTP/2', () => {
  it('has a hundred WebSockets in the one session of Chromium', async () => {
    const served = await servePage()
    const sessions = countSessions(served)
    const browser = await launchChromium('--ignore-certificate-errors')
    try {
      const page = await browser.newPage({ ignoreHTTPSErrors: true })
      await page.goto(`https://localhost:${served.port}/`)
      expect(await inTime('the page', page.evaluate(PROGRAM))).toBe('4000,chat,short,long')
    } finally {
      await browser.close()
    }
    await expectStreams(served, sessions.count)
  })

  it('has a hundred WebSockets in the one session of Firefox', async () => {
    const served = await servePage()
    const sessions = countSessions(served)
    const firefox = await Firefox.launch()
    try {
      await firefox.goto(`https://localhost:${served.port}/`)
      expect(await inTime('the page', firefox.evaluate(PROGRAM))).toBe('4000,chat,short,long')
    } finally {
      await firefox.close()
    }
    await expectStreams(served, sessions.count)
  })
})

describe('undici with allowH2', () => {
  it('opens WebSockets over HTTP/2', async () => {
    const served = await servePage()
    const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } })
    const received = new Journal<string>()
    const socket = new UndiciWebSocket(`wss://localhost:${served.port}/ws`, {
      protocols: ['chat'],
      dispatcher,
    })
    socket.addEventListener('open', () => socket.send('hello'))
    socket.addEventListener('message', ({ data }) => received.push(String(data)))
    socket.addEventListener('error', ({ error }) => received.push(String(error)))
    socket.addEventListener('close', ({ code }) => received.push(`close ${code}`))
    await received.first('an echo', () => true)
    socket.close(4_000)
    await received.first('the close', (event) => event.startsWith('close'))
    expect(received.all).toEqual(['hello', 'close 4000'])
    expect(served.requests.map(({ httpVersion }) => httpVersion)).toEqual(['2.0'])
    await dispatcher.destroy()
  })

  it('gets what was sent last, and 1001, when the hub closes', async () => {
    const served = await servePage()
    const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } })
    const received = new Journal<string>()
    const open = (): Promise<unknown> => {
      const socket = new UndiciWebSocket(`wss://localhost:${served.port}/ws`, { dispatcher })
      socket.addEventListener('message', ({ data }) => received.push(String(data)))
      socket.addEventListener('close', ({ code }) => received.push(`close ${code}`))
      return once(socket, 'open')
    }
    await inTime('8 WebSockets', Promise.all(Array.from({ length: 8 }, open)))
    served.hub.broadcast('the last')
    const closed = served.hub.close()
    await received.until('the closes', (all) => all.filter((event) => event.startsWith('close')).length === 8)
    expect(received.all.toSorted()).toEqual([...Array(8).fill('close 1001'), ...Array(8).fill('the last')])
    expect(await closed).toEqual({ closed: 8, terminated: 0 })
    await dispatcher.destroy()
  })
})
