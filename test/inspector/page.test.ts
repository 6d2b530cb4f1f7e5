import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { Bus, type BusBackplane } from '../support/bus.ts'
import { launchChromium } from '../support/chromium.ts'
import { FAST } from '../support/cluster.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { everything, type Inspected, inspected } from './inspected.ts'

/** Names that look empty or like another one, and how they are shown. */
const NAMES: readonly (readonly [string, string])[] = [
  ['\u3164', '\\u3164'],
  ['\u2800', '\\u2800'],
  ['\u180e', '\\u180e'],
  ['\u034f', '\\u034f'],
  ['\u115f', '\\u115f'],
  ['\ufe0f', '\\ufe0f'],
  ['\u00a0', '\\u00a0'],
  ['\u{e0041}', '\\u{e0041}'],
  ['\ud800', '\\ud800'],
  ['\ue000', '\\ue000'],
  ['\u202e', '\\u202e'],
  ['\\u202e', '\\u005cu202e'],
  ['  ', '\\u0020\\u0020'],
  [' a  b ', '\\u0020a \\u0020b\\u0020'],
  ['\ufffc', '\\ufffc'],
  ['\u{1d159}', '\\u{1d159}'],
  ['\u0300\u20dd', '\\u0300\\u20dd'],
  ['a\u0300', 'a\u0300'],
  ['a b', 'a b'],
  ['\\d', '\\d'],
]

describe('the page of an inspector', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser.close())

  /** Opens the page; errors of its script fail the test. */
  const open = async (port: number): Promise<Page> => {
    const context = await browser.newContext()
    context.setDefaultTimeout(WAIT_MS)
    const page = await context.newPage()
    const errors: Error[] = []
    page.on('pageerror', (error) => errors.push(error))
    onTestFinished(async () => {
      await context.close()
      expect(errors).toEqual([])
    })
    await page.goto(`http://127.0.0.1:${port}/hub`)
    return page
  }
  const shows = (page: Page, id: string, text: string | RegExp) =>
    page.locator(`#${id}`).filter({ hasText: text }).waitFor()
  const first = (page: Page, table: string, column: number) =>
    page.locator(`#${table} tr td:nth-child(${column})`).allTextContents()

  /** A client in rooms. */
  const join = async ({ hub, client }: Inspected, rooms: string | string[]) => {
    const opened = await client()
    const connection = hub.connections().at(-1)
    if (connection === undefined) throw new Error('no connection')
    hub.joinRoom(connection, rooms)
    return { client: opened, connection }
  }

  it('shows every name so that it can be told from others', async () => {
    const node = await inspected(everything)
    await join(
      node,
      NAMES.map(([name]) => name),
    )
    const two = await join(node, ['a, b', 'c'])
    const page = await open(node.port)
    await shows(page, 'clients', two.connection.id)
    expect(await first(page, 'rooms', 1)).toEqual([...NAMES.map(([, shown]) => shown), 'a, b', 'c'])
    const client = page.locator('#clients tr').filter({ hasText: two.connection.id })
    expect((await client.locator('td').allTextContents())[3]).toBe('"a, b", c')
  })

  it('says why its WebSocket is refused, and what to do', async () => {
    let isPermitted = true
    const node = await inspected({ authorize: () => isPermitted }, new Hub({ maxConnections: 8 }))
    const pages = []
    for (let n = 0; n < 9; n++) pages.push(await open(node.port))
    const [one, last] = [pages[0], pages[8]]
    if (one === undefined || last === undefined) throw new Error('no pages')
    await shows(
      last,
      'state',
      'Not connected. 503: This process has as many pages open as it may. Close another',
    )
    await one.goto('about:blank')
    await shows(last, 'state', /^Live$/)
    isPermitted = false
    node.hub.disconnect(() => true, 1001, 'a deploy')
    await shows(last, 'state', 'Not connected. Closed: a deploy.')
    await shows(last, 'state', 'Not connected. 403: Not permitted. Log in again, and reload the page.')
    isPermitted = true
    await shows(last, 'state', /^Live$/)
  })

  it('says so when a proxy or the hub refuses its WebSocket, and when nothing answers', async () => {
    const node = await inspected(everything, new Hub({ maxConnections: 1 }))
    await node.client()
    const page = await open(node.port)
    await shows(page, 'state', 'Not connected. 200: The page is permitted, but not its WebSocket.')
    await page.route('**/hub', (route) => route.abort())
    await shows(page, 'state', 'Not connected. The server does not answer.')
  })

  it('loses no event while it is paused, stays paused when it reconnects, and says that it was away', async () => {
    const node = await inspected(everything)
    const { client } = await join(node, 'tea')
    const page = await open(node.port)
    await page.getByRole('button', { name: 'Follow tea' }).click()
    await shows(page, 'follow-state', 'Live.')
    await page.getByRole('button', { name: 'Pause' }).click()
    await shows(page, 'state', /^Paused$/)
    for (let second = 0; second < 3; second++) {
      const count = node.hub.stats().sentMessages
      node.hub.broadcastToRoom('tea', `message ${second}`)
      await client.received.first('it', (text) => text === `message ${second}`)
      await expect.poll(() => node.hub.stats().sentMessages, { timeout: WAIT_MS }).toBeGreaterThan(count + 2)
    }
    expect(await first(page, 'followed', 6)).toEqual([])
    node.hub.disconnect((connection) => connection.remoteAddress !== undefined && !connection.inRoom('tea'))
    await shows(page, 'state', 'Not connected')
    await shows(page, 'state', /^Paused$/)
    await page.getByRole('button', { name: 'Pause' }).click()
    await shows(page, 'state', /^Live$/)
    expect(await first(page, 'followed', 6)).toEqual(['', 'message 2', 'message 1', 'message 0'])
    expect((await first(page, 'followed', 2))[0]).toBe('not connected')
  })

  it('says how many older events it does not show any more', async () => {
    const node = await inspected(everything)
    const { client } = await join(node, 'tea')
    const page = await open(node.port)
    await page.getByRole('button', { name: 'Follow tea' }).click()
    await shows(page, 'follow-state', 'Live.')
    await page.mouse.move(0, 0) // rows below the pointer stay
    node.hub.broadcastToRoom('tea', 'once')
    await client.upTo('once')
    await shows(page, 'followed', 'once')
    // As if so much had come within many seconds.
    await page.evaluate(`for (let n = 0; n < 25; n++) {
      const sample = { at: 0, what: 'received', who: 'x', bytes: 1, recipients: 0, payload: '', node: '' }
      const followed = { ...last.followed, samples: Array(10).fill(sample) }
      socket.dispatchEvent(new MessageEvent('message', { data: JSON.stringify({ ...last, followed }) }))
    }`)
    await shows(page, 'followed', /51 older/)
    expect(await page.locator('#followed tr').count()).toBe(201)
  })

  it('goes to the last page of a list that gets shorter', async () => {
    const node = await inspected(everything)
    const names = Array.from({ length: 60 }, (_, n) => `room ${n}`)
    const { connection } = await join(node, names)
    const page = await open(node.port)
    await shows(page, 'rooms-page', '60 rooms, page 1 of 3')
    for (const number of [2, 3]) {
      await page.locator('#rooms-next').click()
      await shows(page, 'rooms-page', `page ${number} of 3`)
    }
    node.hub.leaveRoom(connection, names.slice(30))
    await shows(page, 'rooms-page', '30 rooms, page 2 of 2')
    expect(await first(page, 'rooms', 1)).toEqual(names.slice(25, 30))
    await page.locator('#rooms-prev').click()
    await shows(page, 'rooms-page', 'page 1 of 2')
  })

  it('names the node that does not answer when it disconnects a client', async () => {
    const bus = new Bus()
    const far = bus.backplane()
    const make = (backplane: BusBackplane, callTimeoutMs: number) =>
      inspected(everything, new Hub({ backplane, cluster: { ...FAST, callTimeoutMs } }))
    const [node, other] = [await make(bus.backplane(), 200), await make(far, 20_000)]
    await Promise.all([node, other].map(({ hub }) => hub.cluster.ready()))
    const { connection } = await join(other, 'tea')
    const page = await open(node.port)
    await shows(page, 'clients', connection.id)
    // Not before: a page does not show the clients of a node that does not answer.
    page.once('dialog', (dialog) => {
      far.delay = () => true
      void dialog.accept()
    })
    await page.getByRole('button', { name: `Disconnect ${connection.id}` }).click()
    await shows(page, 'done', `${connection.id} may still be disconnected: no answer from`)
    expect(await page.locator('#done').textContent()).toMatch(new RegExp(` ${process.pid}\\.$`))
    far.delay = () => false
    far.release()
  })
})
