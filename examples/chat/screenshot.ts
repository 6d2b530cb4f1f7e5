/** Takes docs/chat.png: two people in one room, one at a desk and one on a phone. */
import { fileURLToPath } from 'node:url'
import { chromium, type Page } from 'playwright-core'
import { start } from './fastify.ts'

const file = fileURLToPath(new URL('../../docs/chat.png', import.meta.url))

const server = await start({ port: 0, host: '127.0.0.1' })
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu'],
})

for (const name of ['Kim', 'Lin', 'Eve']) await visit(name, 'kitchen')
await visit('Tom', 'night sky')
const ada = await visit('Ada', 'garden', { viewport: { width: 780, height: 600 } })
const bob = await visit('Bob', 'garden', {
  viewport: { width: 290, height: 600 },
  colorScheme: 'dark',
})
await say(ada, bob, 'Hi Bob! Are you on the train already?')
await say(bob, ada, 'Yes, writing from my phone.')
await say(bob, ada, 'We went through a tunnel, and I was back in the room by myself. Lovely.')
await say(ada, bob, 'I saw you leave and come back, within a second')
await say(bob, ada, 'And nobody in the kitchen hears us?')
await say(ada, bob, 'Only the garden does :)')
await ada.getByLabel('Message', { exact: true }).fill('See you at ten, by the old pear tree')

const stage = await browser.newPage({ viewport: { width: 1200, height: 750 } })
await stage.setContent(`
  <style>
    body { margin: 0; height: 100vh; background: #0b5a51; position: relative; overflow: hidden; }
    img { position: absolute; display: block; box-shadow: 0 18px 40px rgb(0 25 22 / 0.45); }
    .desk { left: 44px; top: 75px; border-radius: 16px; }
    .phone { right: 44px; top: 66px; border-radius: 34px; border: 9px solid #0a0f0e; }
  </style>
  <img class="desk" src="${await picture(ada)}">
  <img class="phone" src="${await picture(bob)}">`)
await stage.screenshot({ path: file })

await browser.close()
await server.close()
console.log(`Wrote ${file}`)

async function visit(name: string, room: string, options = {}): Promise<Page> {
  const page = await browser.newPage({ locale: 'en-GB', ...options })
  await page.goto(`${server.url}/#${encodeURIComponent(room)}`)
  await page.getByLabel('Your name').fill(name)
  await page.getByRole('button', { name: 'Join' }).click()
  await page.getByText('Online').waitFor()
  return page
}

async function say(from: Page, to: Page, text: string) {
  await from.getByLabel('Message', { exact: true }).fill(text)
  await from.getByRole('button', { name: 'Send' }).click()
  for (const page of [from, to]) await page.locator('#log').getByText(text).waitFor()
}

async function picture(page: Page): Promise<string> {
  const image = await page.screenshot({ animations: 'disabled' })
  return `data:image/png;base64,${image.toString('base64')}`
}
