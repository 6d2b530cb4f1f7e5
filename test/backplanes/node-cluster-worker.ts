/** A worker that a test controls. */
import type { Backplane } from 'wshub'
import { nodeClusterBackplane } from 'wshub/node-cluster'
import { backplaneContract } from 'wshub/testing/backplane'
import { isPacket } from '../../adapters/node-cluster/ipc-outbox.ts'
import { answer, Caller, isCall, type Methods } from '../support/call.ts'
import { WAIT_MS } from '../support/in-time.ts'

const primary = new Caller((call) => process.send?.(call))

/** Calls a method of the primary. */
async function ask(method: string): Promise<void> {
  await primary.call(-1, method, [])
}

const contract = backplaneContract({
  create: () => nodeClusterBackplane(),
  cut: () => ask('stop'),
  async restore() {
    await ask('stop')
    await ask('serve')
  },
  timeoutMs: WAIT_MS,
})

const messages: string[] = []
/** Channels of the messages that this process has received. */
const came: string[] = []
const states: string[] = []
const errors: string[] = []
let backplane: Backplane = nodeClusterBackplane()
let atLeaving = () => {}

const methods: Methods = {
  async contract(name: string) {
    await contract.find((one) => one.name === name)?.run()
  },

  async start(options?: { maxPendingBytes: number }) {
    backplane = nodeClusterBackplane(options)
    await backplane.start({
      onMessage: (channel, bytes) => messages.push(`${channel}: ${bytes}`),
      onStateChange: (state) => states.push(state),
      onError: (error) => errors.push(error.message),
    })
  },

  subscribe: (channel: string) => backplane.subscribe(channel),
  unsubscribe: (channel: string) => backplane.unsubscribe(channel),
  publish: (channel: string, text: string) => backplane.publish(channel, Buffer.from(text)),

  /** Returns how many of a thousand messages of a length are accepted at once. */
  flood(channel: string, length: number) {
    const bytes = Buffer.alloc(length)
    let accepted = 0
    while (accepted < 1_000 && backplane.publish(channel, bytes)) accepted++
    return accepted
  },

  /**
   * Subscribes to channels and unsubscribes again while the primary is stopped; returns the growth of the
   * memory in bytes.
   */
  async churn(count: number) {
    const used = () => {
      globalThis.gc?.()
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const before = used()
    process.kill(process.ppid, 'SIGSTOP')
    for (let index = 0; index < count; index++) {
      void backplane.subscribe(`churn.${index}`)
      backplane.unsubscribe(`churn.${index}`)
      if (index % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
    }
    const growth = used() - before
    process.kill(process.ppid, 'SIGCONT')
    return growth
  },

  /** Resolves when many subscriptions made at once are confirmed. */
  async subscribeMany(prefix: string, count: number) {
    await Promise.all(Array.from({ length: count }, (_, index) => backplane.subscribe(`${prefix}.${index}`)))
  },

  /** Subscribes with a backplane that is closed before the primary has read anything. */
  async closeEarly(channel: string) {
    process.kill(process.ppid, 'SIGSTOP')
    const early = nodeClusterBackplane()
    early.start({ onMessage() {}, onStateChange() {}, onError() {} }).catch(() => {}) // it is closed
    early.subscribe(channel).catch(() => {}) // it is closed
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve))
    const closed = early.close()
    process.kill(process.ppid, 'SIGCONT')
    await closed
  },

  /** Publishes messages that the primary does not read before the backplane has closed. */
  async closeFlooded(channel: string, count: number, timeoutMs?: number) {
    process.kill(process.ppid, 'SIGSTOP')
    for (let index = 0; index < count; index++) backplane.publish(channel, Buffer.alloc(10_000))
    await backplane.close(timeoutMs)
    process.kill(process.ppid, 'SIGCONT')
  },

  /** Publishes messages just before the backplane learns that the primary has stopped serving. */
  publishAtLeaving(channel: string, count: number) {
    atLeaving = () => {
      for (let index = 0; index < count; index++) backplane.publish(channel, Buffer.from(`${index}`))
    }
  },

  /** Returns how many messages of a channel this process has received, for any backplane. */
  came: (channel: string) => came.filter((one) => one === channel).length,

  seen: () => ({ messages, states, errors, state: backplane.state }),
  close: () => backplane.close(),
}

process.on('message', (message: unknown) => {
  if (!isPacket(message)) return
  for (const entry of message.entries) {
    if (entry[0] === 'message') came.push(entry[1])
    if (entry[0] === 'leaving') atLeaving()
  }
})

process.on('message', async (message: unknown) => {
  primary.receive(message)
  if (isCall(message)) process.send?.(await answer(methods, message))
})
process.send?.('ready')
