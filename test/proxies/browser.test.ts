import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { caddy, haproxy, nginx } from './makes.ts'
import { application } from './suite.ts'
import { RunningProxy, SITE } from './support.ts'

/**
 * The origin of another site, which is on this machine too, because Chromium blocks pages of the internet
 * from it.
 */
const FOREIGN_HOST = 'foreign.example'

describe('A page behind a proxy', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launchChromium(
      `--host-resolver-rules=${[SITE, FOREIGN_HOST].map((host) => `MAP ${host} 127.0.0.1`)}`,
    )
  })
  afterAll(() => browser.close())

  /** The message that a page receives, and the console of the browser. */
  async function greet(pageUrl: string, siteUrl: string): Promise<{ answer: unknown; said: string[] }> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    try {
      const page = await context.newPage()
      await page.goto(pageUrl)
      const said: string[] = []
      page.on('console', (message) => said.push(message.text()))
      const answer = await page.evaluate(`new Promise((resolve) => {
        const socket = new WebSocket('${siteUrl}'.replace('https', 'wss'))
        socket.onopen = () => socket.send('hello from ' + location.host)
        socket.onmessage = ({ data }) => resolve(data)
        socket.onclose = ({ code }) => resolve(code)
      })`)
      return { answer, said }
    } finally {
      await context.close()
    }
  }

  it.each([nginx, haproxy, caddy])(
    'connects through $name from its own site, and not from a foreign one',
    async (make) => {
      const app = await application({ enableCompression: true })
      const { origin, port } = await RunningProxy.start(make, { app: app.port })

      expect(await greet(origin, origin)).toMatchObject({ answer: `hello from ${SITE}:${port}` })
      const { answer, said } = await greet(`http://${FOREIGN_HOST}:${app.port}`, origin)
      expect(answer).toBe(1006)
      expect(said.at(-1)).toContain('Unexpected response code: 403')
      expect(app.refusals.all).toContainEqual(expect.objectContaining({ code: 'WSHUB_ERR_ORIGIN' }))
    },
  )
})
