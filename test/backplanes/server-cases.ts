import { expect, it, onTestFinished } from 'vitest'
import type { Backplane } from 'wshub'
import { turn } from '../support/hub-server.ts'
import { WAIT_MS } from '../support/in-time.ts'
import type { Cable, Engine } from '../support/servers.ts'
import { flows, Node } from './node.ts'

/** An engine that is one server, and how to reach it. */
interface SingleServer {
  /** Starts another server. */
  startEngine(): Promise<Engine>
  /** Makes a backplane over the server on a port. */
  create(port: number, options?: { maxPendingBytes: number }): Backplane
  /** The way to a running server. */
  cable(): Cable
}

/** The cases of outages that every engine with a server passes, beside those of the contract. */
export function serverCases({ startEngine, create, cable }: SingleServer): void {
  const start = (options?: { maxPendingBytes: number }) => Node.start(create(cable().port, options))

  it('is killed and started again: every message arrives, and none twice', async () => {
    const doomed = await startEngine()
    onTestFinished(() => doomed.stop())
    const make = () => Node.start(create(doomed.port))
    const nodes = [await make(), await make(), await make()]
    for (const { backplane } of nodes) await backplane.subscribe('room')
    await flows(nodes, 'room', 'before')

    await doomed.kill()
    for (const node of nodes) await node.became('reconnecting')
    for (const node of nodes) expect(node.publish('room', 'lost')).toBe(false)
    await doomed.start()
    for (const node of nodes) await node.became('connected')
    await flows(nodes, 'room', 'after')
  })

  it('does not answer: no more than the limit waits for it, and its connection is closed', async () => {
    const nodes = [await start({ maxPendingBytes: 100_000 }), await start({ maxPendingBytes: 100_000 })]
    for (const { backplane } of nodes) await backplane.subscribe('silent')
    cable().stall()
    const text = 'x'.repeat(1_000)
    const accepted = nodes.map((node) => {
      let count = 0
      while (node.publish('silent', text)) count++
      return count
    })
    for (const count of accepted) expect(count).toBe(Math.floor(100_000 / (1_000 + 256)))
    for (const { states } of nodes)
      await states.first('the loss to be noticed', (state) => state === 'reconnecting')
    cable().restore()
    for (const node of nodes) await node.became('connected')
    await flows(nodes, 'silent', 'after')
  })

  it('is killed while many messages are on their way: the possible loss is reported', async () => {
    const doomed = await startEngine()
    onTestFinished(() => doomed.stop())
    const node = await Node.start(create(doomed.port))
    await node.backplane.subscribe('room')
    await flows([node], 'room', 'before')
    doomed.freeze()
    for (let index = 0; index < 100; index++) node.publish('room', `${index}`)
    await turn()
    await doomed.kill()
    const { message } = await node.errors.first('a report', (error) => /may not have/.test(error.message))
    expect(message).toMatch(/^10[01] messages .*\(.+\) may not have been published$/)
  })

  it('does not answer until the backplane is closed: the possible loss is reported first', async () => {
    const frozen = await startEngine()
    onTestFinished(() => frozen.stop())
    const node = await Node.start(create(frozen.port))
    frozen.freeze()
    for (let index = 0; index < 100; index++) node.publish('room', `${index}`)
    await node.backplane.close()
    expect(node.errors.all).toEqual([
      expect.objectContaining({
        code: 'WSHUB_ERR_NOT_PUBLISHED',
        message: expect.stringMatching(
          /^100 messages .*\(\w+ did not answer within 1000 ms\) may not have been published$/,
        ),
      }),
    ])
  })

  it('does not answer for longer than a second: close waits as long as it may, and everything arrives', async () => {
    const slow = await startEngine()
    onTestFinished(() => slow.stop())
    const make = () => Node.start(create(slow.port))
    const [patient, hasty, receiver] = [await make(), await make(), await make()]
    await receiver.backplane.subscribe('room')
    slow.freeze()
    for (let index = 0; index < 100; index++) patient.publish('room', `${index}`)
    hasty.publish('other', 'x')
    const closed = patient.backplane.close(WAIT_MS)
    await hasty.backplane.close()
    expect(hasty.errors.all).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_NOT_PUBLISHED' })])
    slow.thaw()
    await closed
    await receiver.heard('room', '99')
    expect(receiver.messages.all).toEqual(Array.from({ length: 100 }, (_, index) => `room: ${index}`))
    expect(patient.errors.all).toEqual([])
  })

  it('comes and goes while channels are subscribed and unsubscribed: the last call counts', async () => {
    const nodes = [await start(), await start()]
    const wanted = new Set<string>()
    for (let round = 0; round < 40; round++) {
      for (const { backplane } of nodes) {
        void backplane.subscribe(`race.${round}`)
        if (round % 3 === 0) backplane.unsubscribe(`race.${round - 1}`)
      }
      wanted.add(`race.${round}`)
      if (round % 3 === 0) wanted.delete(`race.${round - 1}`)
      if (round % 10 === 5) cable().cut()
      if (round % 10 === 8) cable().restore()
      await turn()
    }
    cable().restore()
    const subscribed = nodes.flatMap(({ backplane }) =>
      [...wanted].map((channel) => backplane.subscribe(channel)),
    )
    await Promise.all(subscribed)
    for (const node of nodes) await node.became('connected')
    const [publisher] = nodes
    for (let round = 0; round < 40; round++) publisher?.publish(`race.${round}`, 'here')
    for (const node of nodes) {
      for (const channel of wanted) await node.heard(channel, 'here')
      expect(node.messages.all.toSorted()).toEqual(
        [...wanted].map((channel) => `${channel}: here`).toSorted(),
      )
    }
  })
}
