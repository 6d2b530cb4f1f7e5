import { expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { redisHistory } from 'wshub/redis'
import { startRedis } from '../support/servers.ts'

it('messages and reads of a hub that was just made wait for the store, in their order', async () => {
  const engine = await startRedis()
  onTestFinished(() => engine.stop())
  const errors: Error[] = []
  const hub = new Hub({
    history: { store: redisHistory({ url: `redis://127.0.0.1:${engine.port}` }), rooms: () => ({}) },
    onError: (error) => void errors.push(error),
  })
  onTestFinished(async () => void (await hub.close()))
  const published = ['1', '2', '3'].map((data) => hub.publish('room', data))
  const read = hub.history('room', { last: 10 })
  await Promise.all(published)
  expect((await read).complete).toBe(true)
  const { messages } = await hub.history('room', { last: 10 })
  expect(messages.map(({ data }) => data)).toEqual(['1', '2', '3'])
  expect(errors).toEqual([])
})

it('a message that waits for the store is refused when the hub is closed', async () => {
  const hub = new Hub({
    history: { store: redisHistory({ url: 'redis://127.0.0.1:1' }), rooms: () => ({}) },
    onError() {},
  })
  const published = hub.publish('room', 'never stored')
  const refused = expect(published).rejects.toMatchObject({ code: 'WSHUB_ERR_NOT_STORED' })
  await hub.close({ timeoutMs: 100 })
  await refused
})

it('a message and a read of a hub whose store can never work are refused with the reason', async () => {
  const engine = await startRedis('--requirepass', 'right')
  onTestFinished(() => engine.stop())
  const url = `redis://:wrong@127.0.0.1:${engine.port}`
  const hub = new Hub({ history: { store: redisHistory({ url }), rooms: () => ({}) }, onError() {} })
  onTestFinished(async () => void (await hub.close()))
  for (const when of ['while it starts', 'later']) {
    const [message, page] = await Promise.allSettled([hub.publish('room', when), hub.history('room')])
    const why = expect.stringContaining('WRONGPASS')
    expect(message).toMatchObject({
      reason: { code: 'WSHUB_ERR_NOT_STORED', message: why, mayBeStored: false, expose: false },
    })
    expect(page).toMatchObject({ reason: { code: 'WSHUB_ERR_HISTORY_AWAY', message: why } })
  }
})
