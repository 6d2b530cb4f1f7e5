import { expect, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { serve } from '../support/hub-server.ts'
import { bundleForPage } from './bundle.ts'
import { describeRuntime } from './runtimes.ts'

describeRuntime(
  'Chromium',
  async () => {
    const browser = await launchChromium()
    const page = await browser.newPage()
    return {
      begin: async (origin) => void (await page.goto(origin)),
      evaluate: (program) => page.evaluate<string>(program),
      close: () => browser.close(),
    }
  },
  true,
)

it('The client in Chromium connects at once when the network of the browser is back', async () => {
  const app = await serve()
  const browser = await launchChromium()
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${app.port}`)
    const { text } = await bundleForPage(`
      import { connect } from './client.ts'
      globalThis.client = connect('${app.url}', { minDelayMs: 600_000, maxDelayMs: 600_000 })
      globalThis.states = []
      client.onclose = () => states.push(navigator.onLine)
      client.onopen = () => states.push('open')`)
    await page.evaluate(`{ ${text} }`)
    await app.log.first('a connection', (entry) => entry === 'open')
    await page.context().setOffline(true)
    app.connections[0]?.terminate()
    await page.waitForFunction('states.length === 2')
    await page.context().setOffline(false)
    await page.waitForFunction('states.length === 3')
    expect(await page.evaluate('states')).toEqual(['open', false, 'open'])
  } finally {
    await browser.close()
  }
})
