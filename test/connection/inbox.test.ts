import { describe, expect, it } from 'vitest'
import { Inbox } from '../../src/connection/inbox.ts'
import type { Message } from '../../src/protocol/message.ts'
import { inTime, thrownBy, turn } from '../support/hub-server.ts'

function setUp() {
  const owner = {
    isReading: true,
    resumeReading: () => {
      owner.isReading = true
    },
    pauseReading: () => {
      owner.isReading = false
    },
    /** The messages that `onMessage` received. */
    taken: [] as string[], // an empty array is inferred as never[]
    onTake: () => {},
    exceeded: (message: string) => expect.fail(message),
    callbackBegan: () => {},
    callbackSettled: () => {},
    callOnMessage: (message: Message) => {
      owner.taken.push(String(message.data))
      owner.onTake()
    },
  }
  const inbox = new Inbox(owner)
  const push = (...texts: string[]) => {
    for (const data of texts) inbox.push({ type: 'text', data }, data.length)
  }
  /** The next message of an iteration; `end` when it has ended. */
  const next = async (messages: AsyncGenerator<Message>) => {
    const { value, done } = await inTime('the next message', messages.next(), () => owner.taken)
    return done === true ? 'end' : String(value.data)
  }
  /** Whether a promise is still pending after everything that could settle it has run. */
  const isPending = async (promise: Promise<unknown>) => {
    let pending = true
    void promise.then(() => {
      pending = false
    })
    for (let i = 0; i < 3; i++) await turn()
    return pending
  }
  return { owner, inbox, push, next, isPending }
}

const alreadyIterated = expect.objectContaining({ code: 'WSHUB_ERR_ALREADY_ITERATED' })

describe('Inbox', () => {
  it('is open at first, and closed while it is paused, iterated or holds a message', async () => {
    const { inbox, push } = setUp()
    expect(inbox.isOpen).toBe(true)
    inbox.pause()
    expect(inbox.isOpen).toBe(false)
    inbox.resume()
    expect(inbox.isOpen).toBe(true)
    push('1')
    expect(inbox.isOpen).toBe(false)
    inbox.resume()
    await turn()
    expect(inbox.isOpen).toBe(true)
    inbox.iterate()
    expect(inbox.isOpen).toBe(false)
  })

  describe('#pause and #resume', () => {
    it('stop reading, hold messages back, and deliver them in order before reading resumes', async () => {
      const { owner, inbox, push } = setUp()
      inbox.pause()
      expect(owner.isReading).toBe(false)
      push('1', '2', '3')
      await turn()
      expect(owner.taken).toEqual([])
      inbox.resume()
      expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({ taken: [], isReading: false })
      await turn()
      expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({
        taken: ['1', '2', '3'],
        isReading: true,
      })
    })

    it('have no further effect when repeated', async () => {
      const { owner, inbox, push } = setUp()
      inbox.pause()
      inbox.pause()
      push('1')
      inbox.resume()
      inbox.resume()
      await turn()
      await turn()
      expect(owner.taken).toEqual(['1'])
      inbox.resume()
      await turn()
      expect({ taken: owner.taken, isOpen: inbox.isOpen, isReading: owner.isReading }).toEqual({
        taken: ['1'],
        isOpen: true,
        isReading: true,
      })
    })

    it('follow the last call of a turn', async () => {
      const { owner, inbox, push } = setUp()
      inbox.pause()
      push('1')
      inbox.resume()
      inbox.pause()
      await turn()
      expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({ taken: [], isReading: false })
      inbox.resume()
      await turn()
      expect(owner.taken).toEqual(['1'])
    })

    it('let a callback pause again between two messages', async () => {
      const { owner, inbox, push } = setUp()
      owner.onTake = () => inbox.pause()
      inbox.pause()
      push('1', '2', '3')
      for (const taken of [['1'], ['1', '2'], ['1', '2', '3']]) {
        inbox.resume()
        await turn()
        expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({ taken, isReading: false })
      }
    })

    it('keep the order of messages that arrive during delivery', async () => {
      const { owner, inbox, push } = setUp()
      inbox.pause()
      push('1', '2')
      inbox.resume()
      push('3')
      await turn()
      expect(owner.taken).toEqual(['1', '2', '3'])
    })
  })

  describe('#iterate', () => {
    it('yields each message, text or binary, to the iteration alone', async () => {
      const { owner, inbox, push, next } = setUp()
      const messages = inbox.iterate()
      push('1')
      inbox.push({ type: 'binary', data: Buffer.from([2]) }, 1)
      expect(await next(messages)).toBe('1')
      expect((await messages.next()).value).toEqual({ type: 'binary', data: Buffer.from([2]) })
      expect(owner.taken).toEqual([])
    })

    it('reads only while the iteration waits', async () => {
      const { owner, inbox, push, next } = setUp()
      const messages = inbox.iterate()
      expect(owner.isReading).toBe(false)
      const first = next(messages)
      await turn()
      expect(owner.isReading).toBe(true)
      push('1', '2')
      expect(owner.isReading).toBe(false)
      expect(await first).toBe('1')
      expect(await next(messages)).toBe('2')
      expect(owner.isReading).toBe(false)
      const third = next(messages)
      await turn()
      expect(owner.isReading).toBe(true)
      push('3')
      expect(await third).toBe('3')
    })

    it('begins with the messages that wait', async () => {
      const { owner, inbox, push, next } = setUp()
      inbox.pause()
      push('1', '2')
      inbox.resume()
      const messages = inbox.iterate()
      await turn()
      expect(await next(messages)).toBe('1')
      expect(await next(messages)).toBe('2')
      expect(owner.taken).toEqual([])
    })

    it('waits while it is paused', async () => {
      const { owner, inbox, push, next, isPending } = setUp()
      const messages = inbox.iterate()
      const first = next(messages)
      inbox.pause()
      push('1', '2')
      expect(await isPending(first)).toBe(true)
      inbox.resume()
      expect(await first).toBe('1')
      inbox.pause()
      const second = next(messages)
      expect(await isPending(second)).toBe(true)
      expect(owner.isReading).toBe(false)
      inbox.resume()
      expect(await second).toBe('2')
    })

    it('serves calls of next() in their order', async () => {
      const { inbox, push, next } = setUp()
      const messages = inbox.iterate()
      const three = [next(messages), next(messages), next(messages)]
      push('1', '2')
      inbox.end()
      expect(await Promise.all(three)).toEqual(['1', '2', 'end'])
    })

    it('is refused while another iteration runs, and accepted when that has ended', async () => {
      const { owner, inbox, push, next } = setUp()
      const messages = inbox.iterate()
      expect(thrownBy(() => inbox.iterate())).toEqual(alreadyIterated)
      push('1')
      expect(await next(messages)).toBe('1')
      expect(thrownBy(() => inbox.iterate())).toEqual(alreadyIterated)
      await messages.return()
      const again = inbox.iterate()
      push('2')
      expect(await next(again)).toBe('2')
      expect(owner.taken).toEqual([])
    })

    it('returns the remaining messages when it ends early', async () => {
      const { owner, inbox, push, next } = setUp()
      const messages = inbox.iterate()
      push('1', '2', '3')
      expect(await next(messages)).toBe('1')
      await messages.return()
      await turn()
      expect({ taken: owner.taken, isOpen: inbox.isOpen, isReading: owner.isReading }).toEqual({
        taken: ['2', '3'],
        isOpen: true,
        isReading: true,
      })
    })

    it('returns the remaining messages when it ends by a throw', async () => {
      const { owner, inbox, push } = setUp()
      const broken = new Error('broken')
      const loop = async () => {
        for await (const message of inbox.iterate()) throw Object.assign(broken, { message: message.data })
      }
      push('1', '2')
      await expect(loop()).rejects.toBe(broken)
      expect(broken.message).toBe('1')
      await turn()
      expect(owner.taken).toEqual(['2'])
    })

    it('returns all messages when it ends before its first step', async () => {
      const { owner, inbox, push } = setUp()
      const messages = inbox.iterate()
      push('1')
      await messages.return()
      await turn()
      expect({ taken: owner.taken, isOpen: inbox.isOpen, isReading: owner.isReading }).toEqual({
        taken: ['1'],
        isOpen: true,
        isReading: true,
      })
    })

    it('returns the remaining messages to a pause when it ends while paused', async () => {
      const { owner, inbox, push, next } = setUp()
      const messages = inbox.iterate()
      push('1', '2')
      expect(await next(messages)).toBe('1')
      inbox.pause()
      await messages.return()
      await turn()
      expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({ taken: [], isReading: false })
      inbox.resume()
      await turn()
      expect({ taken: owner.taken, isReading: owner.isReading }).toEqual({ taken: ['2'], isReading: true })
    })
  })

  describe('#end', () => {
    it('ends an iteration after the messages that wait', async () => {
      const { inbox, push, next } = setUp()
      const messages = inbox.iterate()
      push('1', '2')
      inbox.end()
      expect([await next(messages), await next(messages), await next(messages)]).toEqual(['1', '2', 'end'])
    })

    it('ends an iteration that waits, also a paused one', async () => {
      for (const isPaused of [false, true]) {
        const { inbox, next } = setUp()
        const messages = inbox.iterate()
        if (isPaused) inbox.pause()
        const first = next(messages)
        inbox.end()
        expect(await first).toBe('end')
      }
    })

    it('delivers waiting messages at once, paused or not', () => {
      for (const isPaused of [false, true]) {
        const { owner, inbox, push } = setUp()
        inbox.pause()
        push('1', '2')
        if (!isPaused) inbox.resume()
        inbox.end()
        expect(owner.taken).toEqual(['1', '2'])
      }
    })

    it('leaves no message for an iteration that begins afterwards', async () => {
      const { inbox, next } = setUp()
      inbox.end()
      expect(await next(inbox.iterate())).toBe('end')
      expect(await next(inbox.iterate())).toBe('end')
    })
  })

  describe('#clear', () => {
    it('ends an iteration at once, whether it waits or not', async () => {
      const { inbox, push, next } = setUp()
      const messages = inbox.iterate()
      push('1', '2', '3')
      expect(await next(messages)).toBe('1')
      inbox.clear()
      expect(await next(messages)).toBe('end')
      const other = setUp()
      const first = other.next(other.inbox.iterate())
      other.inbox.clear()
      expect(await first).toBe('end')
    })

    it('drops the messages that a pause holds back', async () => {
      const { owner, inbox, push } = setUp()
      inbox.pause()
      push('1')
      inbox.clear()
      inbox.resume()
      await turn()
      expect(owner.taken).toEqual([])
    })
  })
})
