import { describe, expect, it } from 'vitest'
import { BackplaneLife, type BackplaneState } from 'wshub'
import { turn } from '../support/hub-server.ts'

/** A listener, with what it was called with. */
function recorder(onMessage: () => void = () => {}) {
  const states: BackplaneState[] = []
  const errors: Error[] = []
  return {
    states,
    errors,
    onMessage,
    onStateChange: (state: BackplaneState) => states.push(state),
    onError: (error: Error) => errors.push(error),
  }
}

const closed = expect.objectContaining({
  code: 'WSHUB_ERR_BACKPLANE',
  message: 'the backplane is closed',
})

describe('BackplaneLife', () => {
  it('resolves the start with the first connection', async () => {
    const life = new BackplaneLife()
    const listener = recorder()
    let connects = 0
    const started = life.start(listener, () => connects++)
    life.disconnected() // it was never connected
    life.connected()
    life.connected()
    await started
    life.disconnected()
    life.connected()
    expect(connects).toBe(1)
    expect(listener.states).toEqual(['connected', 'reconnecting', 'connected'])
  })

  it('does not connect when a start is refused', async () => {
    const connect = () => expect.unreachable('connects')
    const life = new BackplaneLife()
    void life.start(recorder(), () => life.connected())
    await expect(life.start(recorder(), connect)).rejects.toMatchObject({ code: 'WSHUB_ERR_BACKPLANE' })
    const other = new BackplaneLife()
    other.close()
    await expect(other.start(recorder(), connect)).rejects.toEqual(closed)
    expect(other.isStarted).toBe(false)
  })

  it('rejects the start with the reason why it can never connect', async () => {
    const life = new BackplaneLife()
    const listener = recorder()
    const started = life.start(listener, () => {})
    life.failStart(new Error('wrong password'))
    life.close()
    await expect(started).rejects.toThrow('wrong password')
    expect(listener.states).toEqual(['closed'])
  })

  it('closes once, and is silent from then on', async () => {
    const life = new BackplaneLife()
    const listener = recorder(() => expect.unreachable('receives'))
    const started = life.start(listener, () => life.connected())
    const confirmed = life.subscribe('a', () => {})
    await started
    expect(life.close()).toBe('connected')
    expect(life.close()).toBe('closed')
    expect(life.signal.aborted).toBe(true)
    await expect(confirmed).rejects.toEqual(closed)
    life.connected()
    life.disconnected()
    life.report(new Error('late'))
    life.receive('a', Buffer.from('late'))
    await expect(life.subscribe('b', () => expect.unreachable('asks'))).rejects.toEqual(closed)
    expect(listener.states).toEqual(['connected', 'closed'])
    expect(listener.errors).toEqual([])
    expect([...life.channels.names()]).toEqual([])
  })

  it('closes completely when its listener throws', async () => {
    const life = new BackplaneLife()
    const listener = {
      ...recorder(),
      onStateChange: () => {
        throw new Error('of the listener')
      },
    }
    const started = life.start(listener, () => {})
    const confirmed = life.subscribe('a', () => {})
    expect(() => life.close()).toThrow('of the listener')
    await expect(started).rejects.toEqual(closed)
    await expect(confirmed).rejects.toEqual(closed)
    expect(life.signal.aborted).toBe(true)
  })

  it('leaves no unhandled rejection when nobody waits for a subscription', async () => {
    const life = new BackplaneLife()
    void life.subscribe('a', () => {})
    life.close()
    await turn()
    await turn()
  })

  it('gives the listener a Buffer over the memory that it was given', () => {
    const life = new BackplaneLife()
    const received: Buffer[] = []
    void life.start({ ...recorder(), onMessage: (_channel, bytes) => received.push(bytes) }, () => {})
    void life.subscribe('a', () => {})
    const within = new Uint8Array(Uint8Array.of(0, 1, 2, 3).buffer, 1, 2)
    life.receive('a', within)
    const [bytes] = received
    expect(Buffer.isBuffer(bytes)).toBe(true)
    within.fill(7)
    expect([...(bytes ?? [])]).toEqual([7, 7])
  })

  it('reports anything that its listener throws as an Error', () => {
    const life = new BackplaneLife()
    const listener = recorder(() => {
      throw undefined
    })
    void life.start(listener, () => life.connected())
    void life.subscribe('a', () => life.channels.confirm('a'))
    life.receive('a', Buffer.from('x'))
    life.receive('b', Buffer.from('of a channel that nobody subscribed to'))
    expect(listener.errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_HANDLER_THREW' })])
  })
})
