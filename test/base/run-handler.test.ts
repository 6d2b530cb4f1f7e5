import { describe, expect, it } from 'vitest'
import { runHandler } from '../../src/base/run-handler.ts'

function owner() {
  const errors: unknown[] = []
  return { errors, failed: (error: Error) => void errors.push(error) }
}

describe('runHandler', () => {
  it('returns undefined for a callback that returns no promise', () => {
    const who = owner()
    expect(runHandler('onMessage', () => 7, who)).toBeUndefined()
    expect(who.errors).toEqual([])
  })

  it('reports what a callback throws, at once', () => {
    const who = owner()
    const error = new Error('x')
    runHandler(
      'onMessage',
      () => {
        throw error
      },
      who,
    )
    expect(who.errors).toEqual([error])
  })

  it('reports a rejection with a promise that resolves', async () => {
    const who = owner()
    await runHandler('onMessage', () => Promise.reject('x'), who)
    expect(who.errors).toEqual([expect.objectContaining({ code: 'WSHUB_ERR_HANDLER_THREW', cause: 'x' })])
  })

  it('waits for any thenable', async () => {
    const who = owner()
    const thenable = {
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
      then: (_done: () => void, failed: (error: Error) => void) => failed(new Error('t')),
    }
    await runHandler('onMessage', () => thenable, who)
    expect(who.errors).toEqual([expect.objectContaining({ message: 't' })])
  })

  it('reports a thenable whose `then` throws when it is read', () => {
    const who = owner()
    const hostile = Object.defineProperty({}, 'then', {
      get() {
        throw new Error('hostile')
      },
    })
    runHandler('onMessage', () => hostile, who)
    expect(who.errors).toEqual([expect.objectContaining({ message: 'hostile' })])
  })
})
