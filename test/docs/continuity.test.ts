import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type EventHandler, Hub, memoryHistory, stampJson } from 'wshub'
import { launchChromium } from '../support/chromium.ts'
import { eventually, listen, stop } from '../support/hub-server.ts'

const docs = readFileSync(new URL('../../docs/continuity.md', import.meta.url), 'utf8')
const [, script = ''] = /^```js\n\/\/ page\.js\n(.*?)^```$/ms.exec(docs) ?? []

/** The handler of the page's first program. */
const handler: EventHandler = {
  async onMessage(conn, message) {
    const { since } = JSON.parse(message.data.toString())
    const { position, ended } = await conn.hub.resumeRoom(conn, 'chat:7', { since, last: 50 })
    if (ended === undefined) conn.sendText(JSON.stringify({ start: position }))
  },
  onBehind: (conn) => conn.sendText('{"reload":true}'),
}

let browser: Browser

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser.close())

/** Serves the history of the page, and opens it in Chromium, whose clock runs when the test says so. */
async function open() {
  const history = { store: memoryHistory(), rooms: () => ({ maxMessages: 100 }), stamp: stampJson }
  const hub = new Hub({ history })
  const server = createServer((req, res) => {
    if (req.headers.upgrade !== undefined) void hub.upgrade(req, handler)
    else res.end(`<pre id="log"></pre><script>${script}</script>`)
  })
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  const { port } = server.address() as AddressInfo // of a TCP server that listens
  const page = await browser.newPage()
  onTestFinished(() => page.close())
  await page.clock.install()
  await page.goto(`http://127.0.0.1:${port}/`)
  const publish = (text: string) => hub.publish('chat:7', JSON.stringify({ text }))
  const cut = () => {
    for (const connection of hub.connections()) connection.terminate()
  }
  return { hub, page, publish, cut }
}

/** Waits until the connection is in the room, as long as the page may take to make it. */
async function joined(hub: { roomSize(room: string): number }, page: Page): Promise<void> {
  await page.clock.runFor(5_000)
  await eventually(
    'the page to join',
    () => hub.roomSize('chat:7') === 1,
    () => hub.roomSize('chat:7'),
  )
}

async function shows(page: Page, lines: readonly string[]): Promise<void> {
  const text = JSON.stringify(lines.map((line) => `${line}\n`).join(''))
  await page.waitForFunction(`document.querySelector('#log').textContent.length >= ${text}.length`)
  expect(await page.textContent('#log')).toBe(JSON.parse(text))
}

describe('The page of docs/continuity.md', () => {
  it('has at most fifteen lines', () => {
    expect(script.trim().split('\n').length).toBeGreaterThan(5)
    expect(script.trim().split('\n').length).toBeLessThanOrEqual(15)
  })

  it('stands below the handler of this test', () => {
    const body = /async onMessage\(conn, message\) \{\n(.*?)\n {2}\}/s
    const own = body
      .exec(readFileSync(new URL(import.meta.url), 'utf8'))?.[1]
      ?.replaceAll('conn.hub.', 'hub.')
    expect(body.exec(docs)?.[1]?.replace(/ *\/\/.*$/gm, '')).toBe(own)
  })

  it('shows what was sent while it was away, in order and once', async () => {
    const { hub, page, publish, cut } = await open()
    await publish('before it came')
    await joined(hub, page)
    await publish('one')
    await shows(page, ['before it came', 'one'])
    const shown = ['before it came', 'one']
    for (let round = 0; round < 3; round++) {
      cut()
      for (const text of [`missed ${round}`, `also missed ${round}`]) {
        await publish(text)
        shown.push(text)
      }
      await joined(hub, page)
      await publish(`live ${round}`)
      shown.push(`live ${round}`)
      await shows(page, shown)
    }
  })

  it('misses nothing when it was away before its first message', async () => {
    const { hub, page, publish, cut } = await open()
    await joined(hub, page)
    await page.waitForFunction('since !== undefined')
    cut()
    const texts = Array.from({ length: 60 }, (_, index) => `missed ${index}`)
    for (const text of texts) await publish(text)
    await joined(hub, page)
    await shows(page, texts)
  })

  it('loads itself again when what it missed is not kept any more', async () => {
    const { hub, page, publish, cut } = await open()
    await joined(hub, page)
    await publish('one')
    await shows(page, ['one'])
    // As after a store that has lost everything: its positions are of another epoch.
    await page.evaluate("since = 'another.1.0'")
    cut()
    await publish('two')
    const loaded = page.waitForEvent('load')
    // It does not return, or rejects, where the page goes meanwhile.
    page.clock.runFor(5_000).catch(() => {})
    await loaded
    await shows(page, ['one', 'two'])
  })
})
