import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { redisBackplane } from 'wshub/redis'
import { launchChromium } from '../support/chromium.ts'
import { Client } from '../support/hub-server.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { type Engine, startRedis } from '../support/servers.ts'
import { everything, HOSTILE, type Inspected, inspected } from './inspected.ts'

/** From right to left, with a character that turns what follows, and one that nobody sees. */
const TURNED = 'שלום \u202egnp.exe\u200b'
/** A folder for pictures of the page. */
const { PICTURES } = process.env
const LONG = 'x'.repeat(1_000)
const metadata = () => ({ name: HOSTILE, large: 'm'.repeat(65_536) })

describe('the page of the inspector, with three nodes over Redis', () => {
  let browser: Browser
  let redis: Engine
  let nodes: Inspected[]
  let problems: string[]

  beforeAll(async () => {
    redis = await startRedis()
    browser = await launchChromium()
  })
  afterAll(async () => {
    await browser.close()
    await redis.stop()
  })

  afterEach(() => expect(problems).toEqual([]))
  beforeEach(async () => {
    problems = []
    nodes = []
    const url = `redis://127.0.0.1:${redis.port}`
    for (let n = 0; n < 3; n++) {
      const hub = new Hub({
        backplane: redisBackplane({ url }),
        cluster: { heartbeatIntervalMs: 100, callTimeoutMs: WAIT_MS },
      })
      nodes.push(await inspected({ ...everything, metadata }, hub))
    }
    await Promise.all(nodes.map(({ hub }) => hub.cluster.ready()))
  })

  /** A client of a node, in rooms. */
  const client = async (of: number, ...rooms: string[]): Promise<{ socket: Client; id: string }> => {
    const { hub, port } = nodes[of] as Inspected
    const before = new Set(hub.connections())
    const socket = await Client.open(`ws://127.0.0.1:${port}/`)
    const connection = hub.connections().find((each) => !before.has(each))
    if (connection === undefined) throw new Error('no connection')
    await hub.cluster.join({ id: connection.id }, rooms)
    return { socket, id: connection.id }
  }

  const open = async (options = {}): Promise<Page> => {
    const context = await browser.newContext(options)
    onTestFinished(() => context.close())
    context.setDefaultTimeout(WAIT_MS)
    const page = await context.newPage()
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text())
    })
    await page.goto(`http://127.0.0.1:${nodes[0]?.port}/hub`)
    return page
  }
  // Playwright's own waits evaluate text in the page, which its policy forbids.
  const until = (holds: () => Promise<boolean>) => expect.poll(holds, { timeout: WAIT_MS }).toBe(true)
  const rows = (page: Page, table: string, count: number) =>
    until(async () => (await page.locator(`#${table} tr`).count()) === count)
  const focused = (page: Page) => page.evaluate('document.activeElement.id')
  const cells = (page: Page, table: string, text: string) =>
    row(page, table, text).first().locator('td').allTextContents()
  const row = (page: Page, table: string, text: string) =>
    page.locator(`#${table} tr`).filter({ hasText: text })

  it('shows all nodes, and what clients have chosen as text', async () => {
    await client(1, HOSTILE, TURNED)
    await client(2, HOSTILE, LONG)
    const page = await open()
    for (const name of [HOSTILE, 'gnp.exe', LONG]) await row(page, 'rooms', name).waitFor()
    await rows(page, 'nodes', 3)
    // Polled, since a node that answers too late is left out of a snapshot.
    const shown = (table: string, text: string) =>
      expect.poll(() => cells(page, table, text), { timeout: WAIT_MS })
    await shown('rooms', HOSTILE).toEqual([HOSTILE, '2', '0', '0', '0 B', 'FollowSend'])
    await shown('rooms', 'gnp.exe').toContain('שלום \\u202egnp.exe\\u200b')
    await shown('clients', LONG.slice(0, 60)).toContainEqual(expect.stringContaining(`{"name":"${HOSTILE}"`))
    expect(await page.locator('img, b').count()).toBe(0)
  })

  it('ignores what the application sends to everyone, and runs no script that it is given', async () => {
    const page = await open()
    await row(page, 'nodes', 'this one').waitFor()
    nodes[0]?.hub.broadcast(JSON.stringify({ token: '', nodes: [], done: 'forged' }))
    nodes[0]?.hub.broadcast('not JSON')
    await until(async () => (await cells(page, 'nodes', 'this one'))[9] !== '0') // they were sent
    expect(await page.locator('#done').textContent()).toBe('')
    const blocked = await page.evaluate(`Promise.all([
      () => { document.body.innerHTML = '<b>x</b>' }, () => eval('1'), () => new Function('1'),
      () => document.body.setAttribute('onclick', 'document.title = 1')
    ].map((one) => new Promise((resolve) => setTimeout(() => {
      try { resolve(one()) } catch { resolve('blocked') }
    }))))`)
    expect(blocked).toEqual(['blocked', 'blocked', 'blocked', 'blocked'])
    expect(await page.title()).toBe('wshub inspector')
    problems.length = 0 // the browser has logged what it blocked
  })

  it('follows a room of another node, sends to it, and disconnects a client', async () => {
    const { socket, id } = await client(2, HOSTILE)
    const page = await open()
    await page.getByRole('button', { name: `Follow ${HOSTILE}` }).click()
    await page.locator('#follow-state').filter({ hasText: 'Live.' }).waitFor()
    await page.getByRole('button', { name: `Send ${HOSTILE}` }).click()
    await page.locator('#text').fill(HOSTILE)
    await page.keyboard.press('Enter')
    await socket.upTo(HOSTILE)
    await page
      .locator('#done')
      .filter({ hasText: `Sent to ${HOSTILE}.` })
      .waitFor()
    await row(page, 'followed', 'broadcast').filter({ hasText: HOSTILE }).first().waitFor()
    page.once('dialog', (dialog) => void dialog.accept())
    await page.getByRole('button', { name: `Disconnect ${id}` }).click()
    expect(await socket.closed()).toBe('1000 closed by an operator')
    await row(page, 'ends', id).filter({ hasText: 'application' }).waitFor()
    await row(page, 'total-ends', 'normal by application').waitFor()
    await page.getByRole('button', { name: 'Stop following' }).click()
    await page.locator('#follow').waitFor({ state: 'hidden' })
  })

  it('is used by keyboard alone: search, order, follow, and a focus that stays', async () => {
    for (const room of ['red', 'blue', 'green']) await client(1, room)
    const page = await open()
    await row(page, 'rooms', 'green').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('blu')
    await rows(page, 'rooms', 1)
    await page.keyboard.press('Tab') // to Pause
    await page.keyboard.press('Tab') // to the nodes
    await page.keyboard.press('Tab') // to the order of the rooms
    expect(await focused(page)).toBe('rooms-order')
    await page.keyboard.press('ArrowDown')
    expect(await page.locator('#rooms-order').inputValue()).toBe('traffic')
    const follow = page.getByRole('button', { name: 'Follow blue' })
    const label = () => page.evaluate("document.activeElement.getAttribute('aria-label')")
    // The row is gone for a moment when a node is late with its rooms.
    await until(async () => {
      await follow.focus()
      await page.keyboard.press('Shift+Tab')
      await page.keyboard.press('Tab') // shows the focus, as a keyboard does
      return (await label()) === 'Follow blue'
    })
    const before = await page.locator('#rooms-page').textContent()
    await client(2, 'blue', 'bluest')
    await until(async () => (await page.locator('#rooms-page').textContent()) !== before)
    expect(await label()).toBe('Follow blue')
    expect(await page.locator('#rooms tr').count()).toBe(1) // rows stay in their place meanwhile
    await page.keyboard.press('Enter')
    await page.locator('#follow-name').filter({ hasText: 'Room blue' }).waitFor()
    expect(await focused(page)).toBe('follow-stop')
    await page.keyboard.press('Enter')
    expect(await focused(page)).toBe('search')
    await row(page, 'rooms', 'bluest').waitFor()
  })

  it('fits a phone, in the light and the dark scheme', async () => {
    await client(1, HOSTILE, LONG)
    const colours = new Set<string>()
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await open({
        viewport: { width: 360, height: 640 },
        colorScheme,
        hasTouch: true,
        isMobile: true,
      })
      await row(page, 'clients', HOSTILE).first().waitFor()
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
      const disconnect = page.getByRole('button', { name: /^Disconnect / }).first()
      await disconnect.scrollIntoViewIfNeeded()
      const box = await disconnect.boundingBox()
      expect((box?.x ?? 0) + (box?.width ?? 999)).toBeLessThanOrEqual(360)
      const shown = 'getComputedStyle(document.documentElement)'
      colours.add(await page.evaluate<string>(`${shown}.backgroundColor + ' ' + ${shown}.color`))
      if (PICTURES !== undefined) await page.screenshot({ path: `${PICTURES}/phone-${colorScheme}.png` })
    }
    expect(colours.size).toBe(2)
  })

  it('shows a node that leaves, and goes on without the engine', async () => {
    const page = await open()
    await rows(page, 'nodes', 3)
    await nodes[2]?.hub.close()
    await rows(page, 'nodes', 2)
    redis.freeze()
    try {
      await page.locator('#state').filter({ hasText: 'no answer from' }).waitFor()
      await rows(page, 'nodes', 1)
    } finally {
      redis.thaw()
    }
    await rows(page, 'nodes', 2)
    await page
      .locator('#state')
      .filter({ hasText: /^Live$/ })
      .waitFor()
  })

  it('comes back when its process was restarted', async () => {
    const page = await open()
    await row(page, 'nodes', 'this one').waitFor()
    nodes[0]?.hub.disconnect(() => true)
    await page.locator('#state').filter({ hasText: 'Not connected' }).waitFor()
    await page
      .locator('#state')
      .filter({ hasText: /^Live$/ })
      .waitFor()
  })
})
