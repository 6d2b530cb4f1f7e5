import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import type { TakeScreenshot } from './drill-system.ts'

/** How often something happens while a page collects it, in ms, and how often that is. */
const WORK_MS = 250
const WORKS = 12

const SIZE = { width: 1_220, height: 560 }

/** Returns a function that makes docs/drills/<name>.png. */
export function screenshotsOf(name: string): TakeScreenshot {
  const file = fileURLToPath(new URL(`../../docs/drills/${name}.png`, import.meta.url))
  return async (url, work, heading) => {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
      args: ['--headless', '--no-sandbox', '--disable-gpu'],
    })
    try {
      const page = await browser.newPage({ locale: 'en-GB', viewport: SIZE })
      await page.goto(url)
      for (let count = 0; count < WORKS; count++) {
        await work()
        await page.waitForTimeout(WORK_MS)
      }
      const { y = 0 } = (await page.getByRole('heading', { name: heading }).boundingBox()) ?? {}
      const clip = { x: 0, y: Math.max(0, y - 16), ...SIZE }
      await page.screenshot({ path: file, clip, fullPage: true })
    } finally {
      await browser.close()
    }
  }
}
