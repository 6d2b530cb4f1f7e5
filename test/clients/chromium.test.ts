import { readFileSync } from 'node:fs'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { Remote, type RemoteEvent } from './remote.ts'
import { describeClient } from './suite.ts'

const source = readFileSync(new URL('whatwg-client.mjs', import.meta.url), 'utf8')

let browser: Browser
/** One browser for all tests, since starting one takes a second. */
let page: Page | undefined
let remote: Remote | undefined

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser.close())

async function openPage(): Promise<Page> {
  const opened = await browser.newPage()
  await opened.exposeFunction('emit', (event: RemoteEvent) => remote?.told(event))
  // The status of a refusal, which scripts cannot read.
  opened.on('console', (message) => {
    const [, status] = /Unexpected response code: (\d+)/.exec(message.text()) ?? []
    if (status !== undefined) remote?.told({ event: 'status', status: Number(status) })
  })
  return opened
}

/**
 * Opens the hub's own page, which is its 426: a page made for the test would belong to no network, and could
 * not access this machine.
 */
async function start(origin: string): Promise<Remote> {
  if (page === undefined || page.isClosed()) page = await openPage()
  const current = page
  await current.goto(origin)
  const module = `data:text/javascript,${encodeURIComponent(source)}`
  await current.evaluate(`import(${JSON.stringify(module)}).then(({ whatwgClient }) => {
    globalThis.command = whatwgClient(WebSocket, emit)
  })`)
  remote = new Remote(
    (command) => void current.evaluate(`void command(${JSON.stringify(command)})`),
    () => void current.close(),
  )
  return remote
}

describeClient({
  name: 'Chromium',
  start,
  fragments: 'byItself',
  pings: false,
  compresses: true,
  insistsOnProtocol: true,
  plainClose: 1005,
  goneCode: 1001,
})
