import { channel } from 'node:diagnostics_channel'
import { Registry } from 'prom-client'
import { expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { inspector } from 'wshub/inspector'
import { hubMetrics } from 'wshub/prometheus'

/** The channels on which a hub tells what it does for each message, turn, pong or broadcast. */
const FREQUENT = ['wshub:message', 'wshub:send', 'wshub:delivery', 'wshub:drop', 'wshub:measure'].map(
  (name) => channel(name),
)

it('Metrics and an inspector that nobody looks at have nothing done for a message', async () => {
  const before = FREQUENT.map((each) => each.hasSubscribers)
  const hub = new Hub()
  onTestFinished(async () => void (await hub.close()))
  const register = new Registry()
  hubMetrics(hub, { register })
  inspector(hub, { authorize: () => true })
  expect(await register.metrics()).toContain('wshub_connections')
  expect(FREQUENT.map((each) => each.hasSubscribers)).toEqual(before)
  expect(before).toEqual(FREQUENT.map(() => false))
})
