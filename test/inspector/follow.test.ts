import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Connection, Hub } from 'wshub'
import type { InspectorOptions } from 'wshub/inspector'
import { NodeReport } from '../../adapters/inspector/node-report.ts'
import { OptionErrors } from '../../adapters/inspector/option-errors.ts'
import { readQuery } from '../../adapters/inspector/query.ts'
import { snapshotOf } from '../../adapters/inspector/snapshot.ts'
import { Bus } from '../support/bus.ts'
import { FAST } from '../support/cluster.ts'
import { holdClock, passing } from '../support/held-clock.ts'
import type { Client } from '../support/hub-server.ts'
import { everything, type Inspected, inspected, messageOf, Page, type Shown, view } from './inspected.ts'

beforeEach(() => holdClock({ performance: true }))

type Sample = Shown['followed']['samples'][number]

const SECRET = 'only for their eyes'

/** A client and its connection. */
async function join(
  { hub, client }: Inspected,
  ...rooms: string[]
): Promise<{ client: Client; connection: Connection }> {
  const before = new Set(hub.connections())
  const opened = await client()
  const connection = hub.connections().find((each) => !before.has(each))
  if (connection === undefined) throw new Error('no connection')
  hub.joinRoom(connection, rooms)
  return { client: opened, connection }
}

/** Follows a room or a client; resolves when that many nodes follow. */
async function follow(page: Page, kind: string, target: string, nodeCount = 1): Promise<void> {
  page.view({}, { kind, target })
  await page.shows('what is followed', ({ followed, nodes }) => followed.isHere && nodes.length === nodeCount)
}

/** Resolves with all that a page was told of what it follows, once there is one like the last. */
async function samples(page: Page, isLast: (sample: Sample) => boolean): Promise<Sample[]> {
  await page.shows('the last sample', ({ followed }) => followed.samples.some(isLast))
  return page.client.received.all.flatMap((json) => messageOf(json).followed?.samples ?? [])
}

/** Two nodes that know each other. */
async function two(options: InspectorOptions): Promise<[Inspected, Inspected]> {
  const bus = new Bus()
  const make = () => inspected(options, new Hub({ backplane: bus.backplane(), cluster: FAST }))
  const nodes: [Inspected, Inspected] = [await make(), await make()]
  await passing(Promise.all(nodes.map(({ hub }) => hub.cluster.ready())))
  return nodes
}

describe('an operator who follows', () => {
  it('a client of another node sees what it sends and receives, and its end', async () => {
    const [near, far] = await two(everything)
    const { client, connection } = await join(far, 'tea')
    const { id } = connection
    const page = await Page.open(near.port)
    await follow(page, 'client', id, 2)
    client.socket.send('hello')
    await passing(far.hub.cluster.members('tea')) // a round trip
    connection.sendText('for one')
    connection.sendBinary(Buffer.alloc(100, 7))
    far.hub.sendTo(id, 'by id')
    far.hub.broadcastToRoom('tea', 'to the room')
    far.hub.broadcastToRoom('tea', 'not to it', { except: connection })
    far.hub.broadcastToRoom('coffee', 'to others')
    far.hub.broadcast('to everyone')
    await client.upTo('to everyone')
    connection.close(4000, 'bye')
    const seen = await samples(page, ({ what }) => what === 'closed')
    const received = seen.filter(({ what }) => what === 'received')
    expect(received).toMatchObject([{ who: id, bytes: 5, payload: 'hello' }])
    expect(seen.filter(({ what }) => what !== 'received')).toMatchObject([
      { what: 'sent', who: id, bytes: 7, payload: 'for one' },
      { what: 'sent', who: id, bytes: 100, payload: `0x${'07'.repeat(64)}…` },
      { what: 'sent', who: id, bytes: 5, payload: 'by id' },
      { what: 'broadcast', who: 'tea', recipients: 1, payload: 'to the room' },
      { what: 'broadcast', who: 'everyone', payload: 'to everyone' },
      { what: 'closed', who: `${id}: normal by application` },
    ])
  })

  it('a room sees its messages on all nodes, and what its members send', async () => {
    const [near, far] = await two(everything)
    const one = await join(near, 'tea')
    const other = await join(far)
    await passing(far.hub.cluster.join({ id: other.connection.id }, 'tea'))
    const stranger = await join(far, 'coffee')
    const page = await Page.open(near.port)
    await follow(page, 'room', 'tea', 2)
    stranger.client.socket.send('of no interest')
    far.hub.broadcastToRoom('coffee', 'nor this')
    near.hub.broadcastToRoom(['tea', 'coffee'], SECRET)
    await Promise.all([one, other].map(({ client }) => client.upTo(SECRET)))
    other.client.socket.send('the last')
    const seen = await samples(page, ({ payload }) => payload === 'the last')
    expect(seen).toMatchObject([
      { what: 'broadcast', who: 'tea, coffee', recipients: 1, payload: SECRET, node: near.hub.cluster.node },
      { what: 'broadcast', who: 'tea, coffee', recipients: 2, payload: SECRET, node: far.hub.cluster.node },
      { what: 'received', who: other.connection.id, payload: 'the last', node: far.hub.cluster.node },
    ])
  })

  it('sees no content without the permission, also if the page asks for it', async () => {
    const node = await inspected(view)
    const { client, connection } = await join(node, 'tea')
    const page = await Page.open(node.port)
    page.view({ payloads: true }, { kind: 'room', target: 'tea', payloads: true, key: 'x' })
    await page.shows('what is followed', ({ followed }) => followed.isHere)
    node.hub.broadcastToRoom('tea', SECRET)
    connection.sendText(SECRET)
    client.socket.send(SECRET)
    const seen = await samples(page, ({ what }) => what === 'received')
    expect(seen).toMatchObject([
      { what: 'broadcast', bytes: SECRET.length, payload: '' },
      { what: 'received', bytes: SECRET.length, payload: '' },
    ])
    expect(page.client.received.all.join()).not.toContain(SECRET)
  })

  it('sees twenty messages of each second, and how many there were besides', async () => {
    const node = await inspected(everything)
    const { client } = await join(node, 'tea')
    const page = await Page.open(node.port)
    await follow(page, 'room', 'tea')
    for (let n = 0; n < 1_000; n++) node.hub.broadcastToRoom('tea', 'x'.repeat(1_000))
    node.hub.broadcast('end')
    await client.upTo('end')
    const { followed } = await page.shows('the samples', ({ followed }) => followed.skipped > 0)
    expect(followed.samples).toHaveLength(20)
    expect(followed.skipped).toBe(980)
    expect(followed.samples[0]?.payload).toBe(`${'x'.repeat(200)}…`)
  })

  it('does not see what goes to and comes from pages', async () => {
    const node = await inspected(everything)
    const page = await Page.open(node.port)
    await page.shows('a snapshot')
    const [itself] = node.hub.connections()
    if (itself === undefined) throw new Error('no connection')
    await follow(page, 'client', itself.id)
    node.hub.broadcast('end')
    await page.client.received.first('the end', (data) => data === 'end')
    page.client.received.all.length = 0
    const { followed } = await page.shows('a snapshot after it')
    expect(followed).toEqual({ isHere: true, notBy: [], samples: [], skipped: 0 })
  })

  it('does not take the samples of another page', async () => {
    const node = await inspected(everything)
    await join(node, 'tea')
    const pages = [await Page.open(node.port), await Page.open(node.port)]
    for (const page of pages) await follow(page, 'room', 'tea')
    node.hub.broadcastToRoom('tea', 'once')
    for (const page of pages) {
      const seen = await samples(page, ({ payload }) => payload === 'once')
      expect(seen).toHaveLength(1)
    }
  })

  it('learns which node follows as much as it may already', () => {
    const hub = new Hub()
    const report = new NodeReport(hub, undefined, new OptionErrors(hub))
    onTestFinished(() => void hub.close())
    const ask = (key: string) => {
      const follow = { kind: 'room' as const, target: 'tea', key, payloads: false }
      const question = { ...readQuery({}), candidates: [], follow }
      const answer = report.read([question])
      return snapshotOf([answer], 0, question).followed.notBy
    }
    for (let n = 0; n < 32; n++) expect(ask(`${n}`)).toEqual([])
    expect(ask('one more')).toEqual([hub.cluster.node])
  })

  it('can tell the names of several rooms apart', async () => {
    const node = await inspected(everything)
    const { client } = await join(node, 'a, b', 'c')
    const page = await Page.open(node.port)
    await follow(page, 'room', 'c')
    node.hub.broadcastToRoom(['a, b', 'c'], 'end')
    await client.upTo('end')
    const seen = await samples(page, ({ payload }) => payload === 'end')
    expect(seen).toMatchObject([{ who: '"a, b", c' }])
  })
})
