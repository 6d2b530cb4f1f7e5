import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { PagePrograms } from './page-program.ts'

describe('the chat of docs/getting-started.md', () => {
  let programs: PagePrograms
  let browser: Browser

  beforeAll(async () => {
    programs = await PagePrograms.ofSources('docs/getting-started.md')
    browser = await launchChromium()
  })

  afterAll(async () => {
    await browser.close()
    await programs.stopAll()
    programs.remove()
  })

  it('shows in two windows what one of them sends', async () => {
    const url = await programs.run('chat.mjs').line()
    const [ada, bob] = await Promise.all([open(url), open(url)])
    await ada.fill('input', 'hello')
    await ada.press('input', 'Enter')
    for (const page of [ada, bob]) await page.waitForFunction(() => log.textContent === 'hello\n')
    expect(await ada.inputValue('input')).toBe('')
  })

  async function open(url: string): Promise<Page> {
    const page = await browser.newPage()
    page.setDefaultTimeout(WAIT_MS)
    await page.goto(url)
    await page.waitForFunction(() => ws.readyState === 1)
    return page
  }
})

/** Names in the page, where the functions above run. */
declare const ws: { readonly readyState: number }
declare const log: { readonly textContent: string }
