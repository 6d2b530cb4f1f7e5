import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { chatPresence } from '../../examples/chat/chat.ts'
import { start } from '../../examples/chat/fastify.ts'
import type { Running } from '../../examples/run.ts'
import { launchChromium } from '../support/chromium.ts'
import { WAIT_MS } from '../support/in-time.ts'
import { ChatVisitors, say, sees, texts } from './chat-visitors.ts'
import { anyPort } from './support.ts'

describe('Chat page', () => {
  let browser: Browser
  let server: Running
  let visitors: ChatVisitors

  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser.close())

  beforeEach(async () => {
    visitors = new ChatVisitors(browser)
    server = await start(anyPort)
  })
  afterEach(async () => {
    await visitors.leave()
    await server.close()
    expect(visitors.problems).toEqual([])
  })

  const atTheDoor = (room: string, options = {}) => visitors.atTheDoor(server.url, room, options)
  const visitor = (name: string, room: string, options = {}) =>
    visitors.inRoom(server.url, name, room, options)
  const people = (page: Page) => page.locator('#people .name').allInnerTexts()

  it('delivers a message to its own room only', async () => {
    const ada = await visitor('Ada', 'garden')
    const bob = await visitor('Bob', 'garden')
    const eve = await visitor('Eve', 'kitchen')

    await say(ada, 'How green!')
    await sees(bob, 'log', 'How green!')
    await sees(ada, 'log', 'How green!')
    await say(eve, 'marker')
    await sees(eve, 'log', 'marker')

    expect(await texts(ada)).toEqual(['How green!'])
    expect(await texts(bob)).toEqual(['How green!'])
    expect(await texts(eve)).toEqual(['marker'])
  })

  it('shows who is there, who joins and who leaves', async () => {
    const ada = await visitor('Ada', 'garden')
    await sees(ada, 'log', 'You are the first one here')
    const bob = await visitor('Bob', 'garden')
    await sees(ada, 'log', 'Bob joined')
    expect(await people(ada)).toEqual(['Ada', 'Bob'])
    expect(await people(bob)).toEqual(['Ada', 'Bob'])

    await bob.getByRole('button', { name: 'Leave' }).click()
    await sees(ada, 'log', 'Bob left')
    expect(await people(ada)).toEqual(['Ada'])
    await bob.getByLabel('Your name').waitFor()
  })

  it('stays in the same room under the same name on a reload, and nobody is told', async () => {
    await server.close()
    // A reload may take longer than the second for which the chat waits.
    const presence = { ...chatPresence(() => server.hub), leaveGraceMs: WAIT_MS }
    server = await start(anyPort, { presence })
    const ada = await visitor('Ada', 'green garden')
    const bob = await visitor('Bob', 'green garden')
    await sees(ada, 'log', 'Bob joined')

    await bob.reload()
    await sees(bob, 'state', 'Online')
    await sees(bob, 'room', 'green garden')
    await say(bob, 'Here I am again')
    await sees(ada, 'log', 'Here I am again')
    expect(await ada.locator('#log .notice').filter({ hasText: 'Bob' }).count()).toBe(1) // that he joined

    expect(await people(ada)).toEqual(['Ada', 'Bob'])
    expect(await people(bob)).toEqual(['Ada', 'Bob'])
  })

  it('reconnects and rejoins when the server drops the connection', async () => {
    const ada = await visitor('Ada', 'garden')
    const bob = await visitor('Bob', 'garden')
    await say(ada, 'before')
    await sees(bob, 'log', 'before')

    for (const conn of server.hub.connections()) conn.terminate()
    for (const page of [ada, bob]) await sees(page, 'log', 'You are back')
    await sees(ada, 'people', 'Bob')

    await say(ada, 'after')
    await sees(bob, 'log', 'after')
    expect(await texts(bob)).toEqual(['before', 'after'])
    expect((await people(bob)).sort()).toEqual(['Ada', 'Bob'])
  })

  it('keeps the text being typed while the server is down, and waits for it to return', async () => {
    const ada = await atTheDoor('garden')
    await ada.clock.install()
    await ada.reload()
    await ada.getByLabel('Your name').fill('Ada')
    await ada.getByRole('button', { name: 'Join' }).click()
    await sees(ada, 'state', 'Online')
    await ada.clock.pauseAt(Date.now() + 20_000) // to keep it from reconnecting; not a time that has passed
    const { port, hostname } = new URL(server.url)
    await ada.getByLabel('Message', { exact: true }).fill('Patience')
    await server.close()
    await sees(ada, 'state', 'Back in')
    expect(await ada.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true)

    server = await start({ port: Number(port), host: hostname })
    await ada.getByRole('button', { name: 'Try now' }).click()
    await sees(ada, 'state', 'Online')
    await ada.getByRole('button', { name: 'Send' }).click()
    await sees(ada, 'log', 'Patience')
    visitors.expectFailedConnections()
  })

  it('notices a connection that went silent, and opens a new one', async () => {
    const page = await atTheDoor('garden')
    await page.clock.install()
    let connections = 0
    let silent = 0 // the number of the connection on which nothing more arrives
    await page.routeWebSocket('**/chat', (route) => {
      const number = ++connections
      route.connectToServer().onMessage((message) => {
        if (silent !== number) route.send(message)
      })
    })
    await page.reload()
    await page.getByLabel('Your name').fill('Ada')
    await page.getByRole('button', { name: 'Join' }).click()
    await sees(page, 'state', 'Online')

    silent = 1
    await page.clock.runFor(31_000)
    expect(connections).toBe(1)
    await page.clock.runFor(11_000)
    await sees(page, 'log', 'You are back')
    expect(connections).toBe(2)
  })

  it('goes to another room through its link, and to a new one through its name', async () => {
    const ada = await visitor('Ada', 'garden')
    const eve = await visitor('Eve', 'kitchen')

    await ada.getByRole('link', { name: 'kitchen' }).click()
    await sees(ada, 'room', 'kitchen')
    await sees(eve, 'log', 'Ada joined')

    await ada.getByLabel('New room').fill('50% attic / ?#&')
    await ada.getByRole('button', { name: 'Open the room' }).click()
    await sees(ada, 'room', '50% attic / ?#&')
    await sees(eve, 'log', 'Ada left')
    await sees(eve, 'rooms', '50% attic / ?#&')
  })

  it('shows names, rooms and messages as text, whatever they contain', async () => {
    const tag = '<b onclick=alert()>x</b>'
    const ada = await visitor(tag, tag)
    await say(ada, `<img src=x onerror="document.title = 'pwned'">`)
    await sees(ada, 'log', '<img src=x')
    for (const part of ['room', 'rooms', 'people']) await sees(ada, part, tag)

    expect(await ada.locator('#chat b, #chat img').count()).toBe(0)
    expect(await ada.title()).toBe(`${tag} · wshub chat`)
  })

  it('shows what the server refuses', async () => {
    const ada = await atTheDoor('x'.repeat(31))
    await ada.getByLabel('Your name').fill('Ada')
    await ada.getByRole('button', { name: 'Join' }).click()
    await sees(ada, 'alarm', '"room" is a text of 1 to 30 characters.')
  })

  it('fits a phone in both orientations and colour schemes', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const viewport of [
        { width: 360, height: 640 },
        { width: 640, height: 360 },
      ]) {
        const page = await visitor('Wilhelmina', 'garden', { viewport, colorScheme })
        await say(page, 'long'.repeat(100))
        await sees(page, 'log', 'longlong')
        const overflow = await page.evaluate(
          'document.documentElement.scrollWidth - innerWidth + document.documentElement.scrollHeight - innerHeight',
        )
        expect(overflow).toBe(0)
        expect(await page.getByRole('button', { name: 'Send' }).isVisible()).toBe(true)
      }
    }
  })
})
