import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { ObservedBackplane } from './observed-backplane.ts'

/**
 * Asserts that a subscriber soon receives no more messages of a channel. The first round in which the marker
 * arrives and the message does not is followed by three more: a late message would arrive by then.
 * @param marker a channel that stays subscribed
 */
export async function stops(
  publisher: ObservedBackplane,
  subscriber: ObservedBackplane,
  channel: string,
  marker: string,
): Promise<void> {
  const round = randomUUID()
  await subscriber.subscribe(marker)
  const pass = async (name: string) => {
    await publisher.publish(channel, name)
    await publisher.publish(marker, `${round} ${name}`)
    await subscriber.receives(marker, `${round} ${name}`)
  }
  for (let attempt = 0; ; attempt++) {
    await pass(`${round} ${attempt}`)
    if (!subscriber.texts(channel).includes(`${round} ${attempt}`)) break
    assert.ok(attempt < 100, `messages of ${channel} end soon`)
  }
  const before = subscriber.texts(channel)
  for (const name of ['one', 'two', 'last']) await pass(name)
  assert.deepEqual(subscriber.texts(channel), before)
}
