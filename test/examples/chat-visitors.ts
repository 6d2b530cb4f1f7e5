import type { Browser, BrowserContext, Page } from 'playwright-core'
import { WAIT_MS } from '../support/in-time.ts'

/** Visitors of the chat's page, each with a browser of its own. */
export class ChatVisitors {
  /** The errors of all pages. */
  problems: string[] = []
  readonly #browser: Browser
  readonly #contexts: BrowserContext[] = []

  constructor(browser: Browser) {
    this.#browser = browser
  }

  /** Opens the page that asks for a name, with the name of a room filled in. */
  async atTheDoor(url: string, room: string, options = {}): Promise<Page> {
    const context = await this.#browser.newContext(options)
    this.#contexts.push(context)
    context.setDefaultTimeout(WAIT_MS)
    const page = await context.newPage()
    page.on('pageerror', (error) => this.problems.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') this.problems.push(message.text())
    })
    await page.goto(`${url}/#${encodeURIComponent(room)}`)
    return page
  }

  /** Opens the page, and enters the room. */
  async inRoom(url: string, name: string, room: string, options = {}): Promise<Page> {
    const page = await this.atTheDoor(url, room, options)
    await enter(page, name)
    return page
  }

  /** Forgets the errors that a browser logs for connections that could not be made, or broke. */
  expectFailedConnections(): void {
    this.problems = this.problems.filter((problem) => !/net::ERR_(CONNECTION|EMPTY|SOCKET)/.test(problem))
  }

  async leave(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()))
  }
}

/** Enters the room of the address. */
export async function enter(page: Page, name: string): Promise<void> {
  await page.getByLabel('Your name').fill(name)
  await page.getByRole('button', { name: 'Join' }).click()
  await sees(page, 'state', 'Online')
}

export async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(text)
  await page.getByRole('button', { name: 'Send' }).click()
}

/** Waits until a part of the page (`log`, `people`, `rooms`, `room`, `state`) contains a text. */
export async function sees(page: Page, id: string, text: string): Promise<void> {
  const part = page.locator(`#${id}`)
  try {
    await part.filter({ hasText: text }).waitFor()
  } catch (cause) {
    const seen = await page.locator('body').ariaSnapshot()
    throw new Error(`No "${text}" in #${id} after ${WAIT_MS} ms, the page shows:\n${seen}`, { cause })
  }
}

/** Returns the messages that the page shows. */
export function texts(page: Page): Promise<string[]> {
  return page.locator('#log .text').allInnerTexts()
}
