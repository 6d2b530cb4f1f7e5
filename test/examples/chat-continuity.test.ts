import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { start } from '../../examples/chat/fastify.ts'
import { launchChromium } from '../support/chromium.ts'
import { until } from '../support/in-time.ts'
import { Cable, startRedis } from '../support/servers.ts'
import { ChatVisitors, enter, say, sees, texts } from './chat-visitors.ts'
import { anyPort, Client, Process } from './support.ts'

const numbered = (word: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${word} ${index}`)

/** A visitor without a page, who says what the page is to see. */
async function talker(url: string, room: string): Promise<(texts: readonly string[]) => Promise<void>> {
  const client = await Client.open({ url }, '/chat')
  client.send({ type: 'join', name: 'Bob', room })
  await client.takeJson({ type: 'resumed' })
  return async (texts) => {
    for (const text of texts) client.send({ type: 'say', text })
    await client.takeJson({ type: 'said', text: texts.at(-1) })
  }
}

const portOf = (url: string) => Number(new URL(url).port)

/** Waits until the page is online, as somebody does who presses the button again and again. */
async function comesBack(page: Page): Promise<void> {
  await until(
    'the page to come back',
    async () => {
      await page.evaluate("document.querySelector('#again').click()")
      return (await page.locator('#state').textContent()) === 'Online'
    },
    () => page.url(),
  )
}

describe('The page of the chat', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser.close())

  function visit(): ChatVisitors {
    const visitors = new ChatVisitors(browser)
    onTestFinished(async () => {
      await visitors.leave()
      visitors.expectFailedConnections()
      expect(visitors.problems).toEqual([])
    })
    return visitors
  }

  /** A proxy between pages and a server. Its port is the page's own origin. */
  async function cableTo(url: string): Promise<{ cable: Cable; url: string }> {
    const cable = await Cable.to(portOf(url))
    onTestFinished(() => cable.close())
    return { cable, url: `http://127.0.0.1:${cable.port}` }
  }

  it('shows the latest fifty messages after a reload, and which of them are its own', async () => {
    const server = await start(anyPort)
    onTestFinished(() => server.close())
    const ada = await visit().inRoom(server.url, 'Ada', 'garden')
    await say(ada, 'How green!')
    await sees(ada, 'log', 'How green!')
    const bobSays = await talker(server.url, 'garden')
    await bobSays(numbered('early', 8))
    await say(ada, 'Indeed')
    await sees(ada, 'log', 'Indeed')
    await bobSays(numbered('late', 49))
    await sees(ada, 'log', 'late 48')

    await ada.reload()
    await sees(ada, 'state', 'Online')
    expect(await texts(ada)).toEqual(['Indeed', ...numbered('late', 49)])
    expect(await ada.locator('#log .mine .text').allInnerTexts()).toEqual(['Indeed'])
    await sees(ada, 'log', 'You joined')
  })

  it.each(['cut', 'stall'] as const)(
    'shows everything in order and once after a minute of a network that is away: %s',
    async (fault) => {
      const server = await start(anyPort)
      onTestFinished(() => server.close())
      const { cable, url } = await cableTo(server.url)
      const ada = await visit().atTheDoor(url, 'garden')
      await ada.clock.install()
      await ada.reload()
      await enter(ada, 'Ada')
      const bobSays = await talker(server.url, 'garden')
      const said: string[] = []
      for (let round = 0; round < 2; round++) {
        // More than the latest fifty, which a page without a position receives.
        const [before, missed, live] = [`before ${round}`, numbered(`missed ${round}`, 120), `live ${round}`]
        await bobSays([before])
        await sees(ada, 'log', before)
        cable[fault]()
        await bobSays(missed)
        await ada.clock.runFor(60_000)
        expect(await ada.locator('#state').textContent()).not.toBe('Online')
        cable.restore()
        await comesBack(ada)
        await bobSays([live])
        await sees(ada, 'log', live)
        said.push(before, ...missed, live)
        expect(await texts(ada)).toEqual(said)
      }
    },
  )

  it('comes back on another node over Redis, and shows everything in order and once', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const env = { REDIS_URL: `redis://127.0.0.1:${redis.port}` }
    const nodes = [0, 1].map(() => new Process('examples/chat/fastify.ts', env))
    onTestFinished(() => {
      for (const node of nodes) node.kill('SIGKILL')
    })
    const [first = '', second = ''] = await Promise.all(nodes.map((node) => node.url()))
    const { cable, url } = await cableTo(first)
    const ada = await visit().inRoom(url, 'Ada', 'garden')
    const bobSays = await talker(second, 'garden')
    const before = numbered('before', 20)
    await bobSays(before)
    await sees(ada, 'log', 'before 19')

    cable.cut()
    nodes[0]?.kill('SIGKILL')
    cable.target = portOf(second)
    const missed = numbered('missed', 120)
    await bobSays(missed)
    cable.restore()
    await comesBack(ada)
    await bobSays(['live'])
    await sees(ada, 'log', 'live')
    expect(await texts(ada)).toEqual([...before, ...missed, 'live'])

    await ada.reload()
    await sees(ada, 'state', 'Online')
    expect(await texts(ada)).toEqual([...numbered('missed', 120).slice(-49), 'live'])
  })
})
